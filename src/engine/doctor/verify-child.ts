// Runs as a process of its own: loads the oneDNN library named by the first argument and multiplies a few matrices. A
// crash in here is a message to the parent, not its end. Prints one line of JSON.
import { Heap } from "../../memory/index.ts";
import { checkMatmul, type MatmulCase } from "../providers/contract.ts";
import { openOneDnn } from "../providers/onednn/library.ts";
import { oneDnnProvider } from "../providers/onednn/provider.ts";

const cases: MatmulCase[] = [
  { m: 33, n: 17, k: 40 },
  { m: 64, n: 48, k: 100, transposeB: true, bias: true, activation: "relu" },
  { m: 40, n: 31, k: 64, transposeA: true, accumulate: true },
  { m: 50, n: 1, k: 20, bias: true, activation: "sigmoid" },
];

function verify(path: string): object {
  const library = openOneDnn(path);
  const heap = Heap.create({ maxBytes: 2 ** 24 });
  for (const method of ["matmul", "sgemm"] as const) {
    const provider = oneDnnProvider(heap, library, { method });
    for (const test of cases) checkMatmul(heap, provider, test);
  }
  const { version, major } = library.native;
  return { version, major, singleThreaded: library.singleThreaded };
}

try {
  console.log(JSON.stringify(verify(process.argv[2]!)));
} catch (error) {
  console.log(JSON.stringify({ problem: (error as Error).message }));
}
