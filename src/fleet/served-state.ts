// What servers hold of a trainer, as a checkpoint of a single process has it, and back.
import { existsSync } from "node:fs";
import { CheckpointError, type TableSource, type TensorSource } from "../checkpoint/index.ts";
import { slotName } from "../program/index.ts";
import { partFolder, type SaveMode, STATISTICS_OF, STATISTICS_TABLE } from "../ps/index.ts";
import type { WholeCheckpoint } from "../ps/saved/index.ts";
import type { ServedSession } from "./served-session.ts";
import type { Session } from "./session.ts";

interface ServedColumn {
  readonly dense: number;
  /** Undefined: the weights. */
  readonly slot: number | undefined;
  readonly shape: readonly number[];
}

/** By the names of checkpoints: weights and optimizer state of dense parameters. */
function servedColumns({ parameters }: Session, { names, state }: ServedSession): Map<string, ServedColumn> {
  const columns = new Map<string, ServedColumn>();
  for (const [dense, name] of names.entries()) {
    const shape = parameters.shape(name);
    columns.set(name, { dense, slot: undefined, shape });
    for (const [slot, { name: own, perRow }] of state.slots(dense).entries()) {
      columns.set(slotName(name, own), { dense, slot, shape: perRow ? [] : shape });
    }
  }
  return columns;
}

/** Names of all tensors of a checkpoint. */
export function servedTensorNames(session: Session, served: ServedSession): string[] {
  return [...new Set([...session.parameters.names, ...servedColumns(session, served).keys()])];
}

export async function servedContents(
  session: Session,
  served: ServedSession,
): Promise<{ tensors: TensorSource[]; tables: TableSource[] }> {
  const columns = servedColumns(session, served);
  const tensors = await Promise.all(
    [...columns].map(async ([name, { dense, slot, shape }]): Promise<TensorSource> => {
      return { name, dtype: "F32", shape, data: await served.state.dense(dense, slot) };
    }),
  );
  const tables: TableSource[] = [];
  for (const table of served.model.tables.keys()) {
    tables.push(await served.state.table(table));
    const statistics = await served.state.table(table, true);
    if (statistics.columns.length > 0) tables.push(statistics);
  }
  return { tensors: [...tensors, ...localTensors(session, served)], tables };
}

/** What the servers do not have. */
export function localTensors(session: Session, served: ServedSession): TensorSource[] {
  const columns = servedColumns(session, served);
  const { parameters } = session;
  return parameters.names
    .filter((name) => !columns.has(name))
    .map((name) => ({ name, dtype: "F32", shape: parameters.shape(name), data: parameters.view(name) }));
}

/**
 * Has the servers write all that they hold, each partition a folder in this one.
 * @throws CheckpointError where they write to other disks
 */
export async function saveParts({ state, model }: ServedSession, folder: string, mode: SaveMode): Promise<void> {
  await state.save(folder, mode);
  const missing = Array.from({ length: model.partitions }, (_, i) => partFolder(folder, i, model.partitions)).filter(
    (part) => !existsSync(part),
  );
  if (missing.length === 0) return;
  throw new CheckpointError(
    folder,
    `lacks the parts of ${missing.length} of ${model.partitions} partitions: their servers wrote to other disks; give a folder that all machines share, or save without parts`,
  );
}

/** Writes a checkpoint to the servers. @throws CheckpointError where they have learnt something already */
export async function loadServed(session: Session, served: ServedSession, checkpoint: WholeCheckpoint): Promise<void> {
  const { state, model } = served;
  await served.refresh();
  if (Object.values(served.tableSizes).some((rows) => rows > 0)) {
    throw new CheckpointError(
      checkpoint.path,
      "cannot be loaded into servers that have rows already; start new servers",
    );
  }
  for (const [name, { dense, slot, shape }] of servedColumns(session, served)) {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
    await checkpoint.readTensor(name, values);
    await state.putDense(dense, slot, values);
  }
  if (checkpoint.inParts) return await state.load(checkpoint.path);
  const put = async (table: number, name: string): Promise<void> => {
    const saved = checkpoint.table(name);
    for await (const { keys, columns } of saved.chunks(LOAD_ROWS)) {
      const wide = columns.map((values, i) => ({ width: saved.columns[i]!.width, values }));
      await state.putRows({ table, keys, columns: wide });
    }
  };
  for (const [index, { spec, accessor }] of model.tables.entries()) {
    const statistics = `${spec.name}${STATISTICS_TABLE}`;
    // They first: rows are admitted by them.
    if (accessor !== undefined && checkpoint.tables.has(statistics)) await put(index + STATISTICS_OF, statistics);
    await put(index, spec.name);
  }
}

/** Rows sent at once. */
const LOAD_ROWS = 16_384;
