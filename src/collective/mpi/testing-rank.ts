// For tests: a rank that mpirun started. It writes its outcome to a file.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Heap } from "../../memory/index.ts";
import { Communicator } from "../communicator.ts";
import { openTransport } from "../open-transport.ts";
import { scenarios } from "../testing-scenarios.ts";

const { folder, scenario, parameters, ...options } = JSON.parse(process.argv[2]!) as {
  folder: string;
  scenario: string;
  parameters: Readonly<Record<string, unknown>>;
  stallMs?: number;
};
const rank = Number(process.env.OMPI_COMM_WORLD_RANK);
const size = Number(process.env.OMPI_COMM_WORLD_SIZE);
const heap = Heap.create({ maxBytes: 2 ** 28 });
const write = (outcome: unknown): void => writeFileSync(join(folder, String(rank)), JSON.stringify(outcome));
const transport = openTransport({ kind: "mpi" }, { rank, size, heap, ...options });
const communicator = new Communicator({ transport, heap, segmentBytes: 16_384 });
try {
  write({ result: scenarios[scenario]!({ communicator, heap, parameters }) ?? null });
} catch (error) {
  const { name, message, rank: culprit } = error as Error & { rank?: number };
  write({ error: { name, message, rank: culprit } });
}
communicator.close();
