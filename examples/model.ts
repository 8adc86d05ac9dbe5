// A model of one's own: a function from a batch's columns to logits. Here an attention decides how much each feature's
// embedding counts, beside a linear part.
import { mkdirSync } from "node:fs";
import { data, fleet, type models, nn, optim } from "../src/index.ts";

const dim = 8;
const model: models.Model = {
  name: "attentive",
  config: { dim },
  forward(batch, ctx) {
    const table = ctx.table({
      name: "features",
      seed: 1,
      fields: [
        { name: "embedding", dim, slots: [], init: { kind: "normal", scale: 0.05 } },
        { name: "linear", dim: 1, slots: [], init: { kind: "zeros", scale: 0 } },
      ],
    });
    const rows = table.lookup(batch.categorical!); // [B, 26]
    const embeddings = rows.gather("embedding"); // [B, 26, dim]
    const query = ctx.parameter("attention/query", [dim, 1], { kind: "glorot-uniform" });
    const scores = embeddings.matmul(query).reshape(rows.rows.shape); // [B, 26]
    const shares = scores.softmax().reshape([...rows.rows.shape, 1]); // [B, 26, 1]
    const pooled = embeddings.mul(shares).sum({ axes: 1 }); // [B, dim]
    const deep = nn.concat([pooled, batch.dense!], 1); // [B, dim + 13]
    const hidden = nn.mlp(ctx, "deep", deep, batch.weight!, { hidden: [32], norm: "layer", dropout: 0.1 });
    return nn.linear(ctx, "output", hidden, 1).add(rows.gatherPool("linear", "sum")); // [B, 1]
  },
};

const folder = "runs/examples/model";
mkdirSync(folder, { recursive: true });
await data.generateCriteo({ path: `${folder}/train.tsv`, rows: 20_000, maxCardinality: 500 });
const job = await fleet.init({ threads: 2 });
const trainer = job.trainer(model, { optimizer: optim.adam({ lr: 0.003 }) });
const train = data.criteo(`${folder}/train.tsv`, { batch: 128 }).shard(job);
const { evaluation } = await trainer.fit(train, { epochs: 2, validation: train, progress: false });
console.log(`${trainer.parameterCount} parameters, AUC ${evaluation?.auc.toFixed(4)} on the rows of the training`);
await job.close();
