// Weights of PyTorch models in a trainer and back, against what PyTorch computes; and what a trainer exports as ONNX.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-web";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findPython } from "../../bench/lib/python.ts";
import { type Dataset, tensors } from "../data/index.ts";
import { relativeError } from "../engine/testing.ts";
import { deepFM, lstmLanguageModel, type Model } from "../models/index.ts";
import { batchNorm, conv2d, embedding, gru, layerNorm, linear, lstm, transformerLayer } from "../nn/index.ts";
import { sgd } from "../optim/index.ts";
import { init, type Job } from "./job.ts";
import { clickColumns, clickFile, clicks, temporaryFolder } from "./testing.ts";
import type { TrainerOptions } from "./trainer.ts";

/** The models of test/python/weights.py. */
const pictures: Model = {
  name: "pictures",
  config: {},
  task: "regression",
  forward({ x }, ctx) {
    const first = conv2d(ctx, "conv1", x!, 8, { kernel: 3, padding: 1, bias: false });
    const y = conv2d(ctx, "conv2", batchNorm(ctx, "bn1", first).relu(), 6, {
      ...{ kernel: [3, 1], stride: 2, padding: [1, 0], groups: 2, activation: "relu" },
    });
    const tokens = transformerLayer(ctx, "layer", y.reshape([-1, 9, 6]), { heads: 2, inner: 10 });
    const whole = linear(ctx, "fc", batchNorm(ctx, "bn2", y.flatten()), 5);
    return whole.add(linear(ctx, "head", tokens.mean({ axes: 1 }), 5));
  },
};
const sequences: Model = {
  name: "sequences",
  config: {},
  task: "regression",
  forward({ x }, ctx) {
    const words = embedding(ctx, "words", x!, { vocabulary: 11, dim: 4 });
    const states = gru(ctx, "gru", lstm(ctx, "lstm", words, { units: 5, layers: 2 }), { units: 3 });
    return layerNorm(ctx, "norm", states).mean({ axes: 1 });
  },
};
const all = { pictures, sequences };

interface Answer {
  readonly shape: readonly number[];
  readonly input: readonly number[];
  readonly output: readonly number[];
}

const datasetOf = (name: keyof typeof all, { shape, input, output }: Answer): Dataset => {
  const data = name === "sequences" ? Int32Array.from(input) : Float32Array.from(input);
  const label = { data: Float32Array.from(output), shape: [4, output.length / 4] };
  return tensors({ x: { data, shape }, label }, { batch: 4 });
};

const folder = temporaryFolder();
let job: Job;
beforeAll(async () => {
  job = await init({ threads: 1, engine: "wasm", maxBytes: 2 ** 28 });
});
afterAll(async () => {
  await job.close();
  folder.dispose();
});

const script = fileURLToPath(new URL("../../test/python/weights.py", import.meta.url));
const python = findPython(["torch"]);

function torch(command: "write" | "check"): Readonly<Record<string, Answer>> {
  if ("missing" in python) throw new Error(python.missing);
  const { status, stdout, stderr } = spawnSync(python.path, [script, command, folder.path], { encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout) as Record<string, Answer>;
}

describe.skipIf("missing" in python)("PyTorch", () => {
  test("weights of every type give its results, here and, exported, there", { timeout: 60_000 }, async () => {
    const written = torch("write");
    expect(Object.keys(written)).toHaveLength(8);
    for (const [file, answer] of Object.entries(written)) {
      const name = file.split(".")[0] as keyof typeof all;
      const dataset = datasetOf(name, answer);
      const trainer = job.trainer(all[name]);
      const report = await trainer.importWeights(join(folder.path, file), dataset, { format: "transformer" });
      expect(report).toMatchObject({ missing: [], unexpected: [] });
      expect(relativeError([...(await trainer.predict(dataset))], answer.output), file).toBeLessThan(1e-5);
      // What the last one leaves is what goes back: F64, which is F32 here.
      await trainer.exportWeights(join(folder.path, `${name}.safetensors`), { format: "transformer" });
      await trainer.close();
    }
    for (const [file, { output }] of Object.entries(torch("check"))) {
      const last = written[file.replace(".", ".F64.")]!;
      expect(relativeError(output, last.output), file).toBeLessThan(1e-5);
    }
  });
});

const answer: Answer = {
  shape: [4, 6, 6, 3],
  input: Array.from({ length: 4 * 6 * 6 * 3 }, (_, i) => Math.sin(i)),
  output: Array.from({ length: 20 }, (_, i) => Math.cos(i)),
};

describe("exportWeights", () => {
  test("the averages are another file, and begin anew with what is imported", async () => {
    const dataset = datasetOf("pictures", answer);
    const options: TrainerOptions = { optimizer: sgd({ lr: 0.05 }), strategy: { mode: "sync", ema: 0.5 } };
    const trainer = job.trainer(pictures, options);
    await trainer.fit(dataset, { epochs: 3, progress: false });
    const path = join(folder.path, "averages.safetensors");
    await trainer.exportWeights(path, { weights: "ema" });
    const averaged = [...(await trainer.predict(dataset, { weights: "ema" }))];
    expect(relativeError([...(await trainer.predict(dataset))], averaged)).toBeGreaterThan(1e-4);
    const next = job.trainer(pictures, options);
    await next.importWeights(path, dataset);
    expect([...(await next.predict(dataset))]).toEqual(averaged);
    expect([...(await next.predict(dataset, { weights: "ema" }))]).toEqual(averaged);
    await trainer.close();
    await next.close();
  });
});

describe("exportOnnx", () => {
  test("predicts what the trainer does, at another batch size too", async () => {
    const dataset = datasetOf("pictures", answer);
    const trainer = job.trainer(pictures, { optimizer: sgd({ lr: 0.01 }) });
    await expect(trainer.exportOnnx("x.onnx")).rejects.toThrow("exportOnnx: there is nothing to save before fit");
    await trainer.fit(dataset, { progress: false });
    const expected = [...(await trainer.predict(dataset))];
    const path = join(folder.path, "pictures.onnx");
    for (const batch of [4, 1]) {
      await trainer.exportOnnx(path, { batch });
      const session = await InferenceSession.create(readFileSync(path));
      const x = new OrtTensor("float32", Float32Array.from(answer.input.slice(0, batch * 108)), [batch, 6, 6, 3]);
      const { predictions } = await session.run({ x });
      expect(predictions!.dims).toEqual([batch, 5]);
      expect(relativeError([...(predictions!.data as Float32Array)], expected.slice(0, batch * 5))).toBeLessThan(1e-5);
      await session.release();
    }
    await expect(trainer.exportOnnx(path, { batch: 0 })).rejects.toThrow("batch must be a positive integer, got 0");
    await expect(trainer.exportOnnx(path, { rows: 1 } as never)).rejects.toThrow('unknown option "rows"');
    await expect(trainer.exportOnnx(join(folder.path, "none/x.onnx"))).rejects.toThrow(
      /none\/x.onnx: cannot be written/,
    );
    expect(readdirSync(folder.path).filter((name) => name.includes("tmp"))).toEqual([]);
    await trainer.close();
  });

  test("a recurrent language model goes along", async () => {
    const ids = { data: Int32Array.from({ length: 4 * 6 }, (_, i) => (i * 7) % 11), shape: [4, 6] };
    const dataset = tensors({ ids, label: ids }, { batch: 4 });
    const trainer = job.trainer(lstmLanguageModel({ vocabulary: 11, width: 8 }), { optimizer: sgd({ lr: 0.5 }) });
    await trainer.fit(dataset, { epochs: 2, progress: false });
    const path = join(folder.path, "language.onnx");
    await trainer.exportOnnx(path);
    const session = await InferenceSession.create(readFileSync(path));
    const { predictions } = await session.run({ ids: new OrtTensor("int32", ids.data, ids.shape) });
    expect(predictions!.dims).toEqual([4, 6, 11]);
    const expected = [...(await trainer.predict(dataset))];
    expect(relativeError([...(predictions!.data as Float32Array)], expected)).toBeLessThan(1e-5);
    await session.release();
    await trainer.close();
  });

  test("says that a table that grows cannot go along, and writes nothing", async () => {
    const trainer = job.trainer(deepFM({ ...clickColumns, dim: 2, hidden: [4] }));
    const path = join(folder.path, "clicks.onnx");
    await trainer.fit(clicks(clickFile(folder.path, "clicks.csv", 64, 1).path, 16), { progress: false });
    await expect(trainer.exportOnnx(path)).rejects.toThrow(/lookup: tables that grow have no counterpart/);
    expect(readdirSync(folder.path)).not.toContain("clicks.onnx");
    await trainer.close();
  });
});
