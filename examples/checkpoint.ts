// Checkpoints: what is in one, how to read it without a trainer, and what happens to a damaged one.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { checkpoint, data, fleet, models } from "../src/index.ts";

const folder = "runs/examples/checkpoint";
mkdirSync(folder, { recursive: true });
await data.generateCriteo({ path: `${folder}/train.tsv`, rows: 5_000, maxCardinality: 100 });
const job = await fleet.init({ threads: 1 });
const trainer = job.trainer(models.deepFM({ categorical: 26, dense: 13, dim: 4, hidden: [16] }));
await trainer.fit(data.criteo(`${folder}/train.tsv`, { batch: 128 }), { progress: false });
const path = `${folder}/checkpoint`;
await trainer.save(path);
await job.close();

console.log(readdirSync(path).sort().join("  "));
{
  await using saved = await checkpoint.openCheckpoint(path);
  for (const { name, dtype, shape } of saved.tensors.values()) console.log(`${dtype} [${shape}] ${name}`);
  const bias = new Float32Array(1);
  await saved.readTensor("bias", bias);
  console.log("bias", bias[0]?.toFixed(4));

  const table = saved.table("features");
  console.log(`${table.rows} rows of`, table.columns.map(({ name, width }) => `${name} [${width}]`).join(", "));
  for await (const { keys, columns } of table.chunks(1000)) {
    console.log(`the first: key 0x${keys[0]?.toString(16)}, embedding ${columns[0]?.subarray(0, 4).join(", ")}`);
    break;
  }
}

const file = `${path}/dense.safetensors`;
const bytes = readFileSync(file);
bytes[bytes.length - 1]! ^= 1;
writeFileSync(file, bytes);
await checkpoint.openCheckpoint(path).catch((error: Error) => console.log(error.message));
