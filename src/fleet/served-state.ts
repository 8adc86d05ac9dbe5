// What servers hold of a trainer, as a checkpoint of a single process has it, and back.
import { type Checkpoint, CheckpointError, type TableSource, type TensorSource } from "../checkpoint/index.ts";
import { slotName } from "../program/index.ts";
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
  const { parameters } = session;
  const local = parameters.names.filter((name) => !columns.has(name));
  const tensors = await Promise.all(
    [...columns].map(async ([name, { dense, slot, shape }]): Promise<TensorSource> => {
      return { name, dtype: "F32", shape, data: await served.state.dense(dense, slot) };
    }),
  );
  const tables: TableSource[] = [];
  for (const table of served.model.tables.keys()) tables.push(await served.state.table(table));
  return {
    tensors: [
      ...tensors,
      ...local.map((name) => ({
        name,
        dtype: "F32" as const,
        shape: parameters.shape(name),
        data: parameters.view(name),
      })),
    ],
    tables,
  };
}

/** Writes a checkpoint to the servers. @throws CheckpointError where they have learnt something already */
export async function loadServed(session: Session, served: ServedSession, checkpoint: Checkpoint): Promise<void> {
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
  for (const [index, { spec }] of model.tables.entries()) {
    const saved = checkpoint.table(spec.name);
    for await (const { keys, columns } of saved.chunks(LOAD_ROWS)) {
      const wide = columns.map((values, i) => ({ width: saved.columns[i]!.width, values }));
      await state.putRows({ table: index, keys, columns: wide });
    }
  }
}

/** Rows sent at once. */
const LOAD_ROWS = 16_384;
