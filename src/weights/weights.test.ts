// Names and layouts of other libraries' weights, and files that do not fit.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { CheckpointError, SafetensorsFile, type TensorSource, writeSafetensors } from "../checkpoint/index.ts";
import { bert, gpt, type Model, resNet50, vgg16 } from "../models/index.ts";
import { conv2d, linear, transformerLayer } from "../nn/index.ts";
import { type Program, type Tensor, type TensorType, type TraceContext, trace } from "../program/index.ts";
import { sizeOf } from "../program/ir.ts";
import { exportWeights, type ImportOptions, importWeights } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "flotilla-weights-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const fresh = (): string => join(folder, `${files++}.safetensors`);

type Weights = Record<string, Float32Array>;

const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });

const programOf = (body: (x: Tensor, ctx: TraceContext) => Tensor, x: TensorType): Program =>
  trace((inputs, ctx) => body(inputs.x, ctx), { inputs: { x }, training: false });

const modelProgram = (model: Model, inputs: Record<string, TensorType>): Program =>
  trace((columns, ctx) => model.forward(columns, ctx), { inputs, training: false });

/** Every number is another one. */
function weightsOf(program: Program, first = 0): Weights {
  let next = first;
  return Object.fromEntries(
    Object.entries(program.parameters).map(([name, { value }]) => {
      const data = Float32Array.from({ length: sizeOf(program.values[value]!.shape) }, () => next++);
      return [name, data];
    }),
  );
}

/** Shapes in a file by name. */
async function shapesIn(path: string): Promise<Record<string, readonly number[]>> {
  await using file = await SafetensorsFile.open(path);
  return Object.fromEntries([...file.tensors].map(([name, { shape }]) => [name, shape]));
}

async function roundTrip(program: Program, options: ImportOptions = {}): Promise<Record<string, readonly number[]>> {
  const path = fresh();
  const [weights, back] = [weightsOf(program), weightsOf(program, 1e6)];
  await exportWeights(path, program, (name) => weights[name]!, options);
  const report = await importWeights(path, program, (name) => back[name]!, options);
  expect(report).toEqual({ imported: Object.keys(weights), missing: [], unexpected: [] });
  expect(back).toEqual(weights);
  return shapesIn(path);
}

describe("formats", () => {
  test("pytorch: torchvision's ResNet-50", async () => {
    const model = resNet50({ width: 2, depths: [2, 1, 1, 1], classes: 3 });
    const shapes = await roundTrip(modelProgram(model, { image: f32(1, 32, 32, 3) }));
    expect(shapes).toMatchObject({
      "conv1.weight": [2, 3, 7, 7],
      "bn1.running_mean": [2],
      "bn1.running_var": [2],
      "layer1.0.downsample.0.weight": [8, 2, 1, 1],
      "layer1.0.downsample.1.bias": [8],
      "layer1.1.conv2.weight": [2, 2, 3, 3],
      "fc.weight": [3, 64],
    });
    expect(Object.keys(shapes).filter((name) => /[/]|gamma|beta/.test(name))).toEqual([]);
  });

  test("pytorch: torchvision's VGG-16, whose first dense layer reads channels first", async () => {
    const model = vgg16({ depths: [1, 1], widths: [2, 3], hidden: 4, classes: 5 });
    const program = modelProgram(model, { image: f32(1, 8, 8, 3) });
    const shapes = await roundTrip(program);
    expect(shapes).toEqual({
      ...{ "features.0.weight": [2, 3, 3, 3], "features.0.bias": [2] },
      ...{ "features.3.weight": [3, 2, 3, 3], "features.3.bias": [3] },
      ...{ "classifier.0.weight": [4, 12], "classifier.0.bias": [4] },
      ...{ "classifier.3.weight": [4, 4], "classifier.3.bias": [4] },
      ...{ "classifier.6.weight": [5, 4], "classifier.6.bias": [5] },
    });
    const path = fresh();
    // Ours [H,W,C,O] with the place of each number in it as its value.
    const weights = weightsOf(program);
    weights["classifier/0/weight"] = Float32Array.from({ length: 48 }, (_, i) => i);
    await exportWeights(path, program, (name) => weights[name]!);
    await using file = await SafetensorsFile.open(path);
    const theirs = new Float32Array(48);
    await file.read("classifier.0.weight", theirs);
    const at = (o: number, c: number, h: number, w: number): number => theirs[((o * 3 + c) * 2 + h) * 2 + w]!;
    expect(at(1, 2, 0, 1)).toBe(((0 * 2 + 1) * 3 + 2) * 4 + 1);
    expect(at(3, 0, 1, 0)).toBe(((1 * 2 + 0) * 3 + 0) * 4 + 3);
  });

  test("bert: names of Hugging Face, old and new, with and without the prefix", async () => {
    const model = bert({ vocabulary: 7, width: 4, layers: 1, heads: 2, inner: 6, positions: 5 });
    const program = modelProgram(model, { ids: { shape: [1, 3], dtype: "i32" } });
    const shapes = await roundTrip(program, { format: "bert" });
    expect(shapes).toMatchObject({
      "bert.embeddings.word_embeddings.weight": [7, 4],
      "bert.embeddings.position_embeddings.weight": [5, 4],
      "bert.embeddings.token_type_embeddings.weight": [2, 4],
      "bert.embeddings.LayerNorm.weight": [4],
      "bert.encoder.layer.0.attention.self.query.weight": [4, 4],
      "bert.encoder.layer.0.attention.output.dense.weight": [4, 4],
      "bert.encoder.layer.0.intermediate.dense.weight": [6, 4],
      "bert.encoder.layer.0.output.dense.weight": [4, 6],
      "bert.encoder.layer.0.output.LayerNorm.bias": [4],
      "bert.pooler.dense.weight": [4, 4],
      "classifier.weight": [2, 4],
    });
    // As BertModel of an old version saves: no prefix, no classifier, gamma and beta, the buffer of positions.
    const old = Object.entries(shapes)
      .filter(([name]) => name.startsWith("bert."))
      .map(([name, shape]) => {
        const plain = name.slice("bert.".length);
        const renamed = plain
          .replace("LayerNorm.weight", "LayerNorm.gamma")
          .replace("LayerNorm.bias", "LayerNorm.beta");
        return { name: renamed, dtype: "F32" as const, shape, data: new Float32Array(sizeOf(shape)).fill(3) };
      });
    const ids = { name: "embeddings.position_ids", dtype: "I64", shape: [1, 5], data: new BigInt64Array(5) } as const;
    const path = fresh();
    await writeSafetensors(path, [...old, ids]);
    const weights = weightsOf(program, 10);
    const options = { format: "bert", strict: false } as const;
    const { missing, unexpected } = await importWeights(path, program, (name) => weights[name]!, options);
    expect({ missing, unexpected }).toEqual({ missing: ["classifier/weight", "classifier/bias"], unexpected: [] });
    for (const [name, data] of Object.entries(weights)) {
      expect(new Set(data).has(3), name).toBe(!name.startsWith("classifier"));
    }
  });

  test("gpt2: Conv1D keeps its axes, the tied output and the masks are left", async () => {
    const model = gpt({ vocabulary: 7, width: 4, layers: 1, heads: 2, positions: 5 });
    const program = modelProgram(model, { ids: { shape: [1, 3], dtype: "i32" } });
    const shapes = await roundTrip(program, { format: "gpt2" });
    expect(shapes).toMatchObject({
      "transformer.wte.weight": [7, 4],
      "transformer.wpe.weight": [5, 4],
      "transformer.h.0.attn.c_attn.weight": [4, 12],
      "transformer.h.0.attn.c_proj.weight": [4, 4],
      "transformer.h.0.mlp.c_fc.weight": [4, 16],
      "transformer.h.0.ln_1.weight": [4],
      "transformer.ln_f.bias": [4],
    });
    const numbers = (shape: readonly number[]): Float32Array =>
      Float32Array.from({ length: sizeOf(shape) }, (_, i) => i);
    const hub: TensorSource[] = Object.entries(shapes).map(([name, shape]) => ({
      ...{ name: name.slice("transformer.".length), dtype: "F32", shape, data: numbers(shape) },
    }));
    const mask = { name: "h.0.attn.bias", dtype: "U8", shape: [1, 1, 5, 5], data: new Uint8Array(25) } as const;
    const output = { name: "lm_head.weight", dtype: "F32", shape: [7, 4], data: new Float32Array(28) } as const;
    const path = fresh();
    await writeSafetensors(path, [...hub, mask, output]);
    const weights = weightsOf(program);
    await importWeights(path, program, (name) => weights[name]!, { format: "gpt2" });
    expect([...weights["transformer/h/0/attn/c_proj/weight"]!]).toEqual([...numbers([16])]);
    await expect(importWeights(path, program, (name) => weights[name]!)).rejects.toThrow(CheckpointError);
  });

  test("transformer: query, key and value are parts of one tensor", async () => {
    const program = programOf((x, ctx) => transformerLayer(ctx, "layer", x, { heads: 2, memory: x }), f32(2, 3, 4));
    const shapes = await roundTrip(program, { format: "transformer" });
    expect(shapes).toMatchObject({
      "layer.self_attn.in_proj_weight": [12, 4],
      "layer.self_attn.in_proj_bias": [12],
      "layer.self_attn.out_proj.weight": [4, 4],
      "layer.multihead_attn.in_proj_weight": [12, 4],
      "layer.linear1.weight": [16, 4],
      "layer.linear2.weight": [4, 16],
      "layer.norm3.bias": [4],
    });
  });
});

describe("options", () => {
  const program = programOf((x, ctx) => linear(ctx, "b", linear(ctx, "a", x, 3), 2), f32(1, 4));

  test("names of one's own go before the format's", async () => {
    const names: ImportOptions["names"] = (name) => {
      if (name === "a/weight") return "encoder.w";
      return name === "b/weight" ? { name: "b.kernel", asIs: true } : undefined;
    };
    expect(await roundTrip(program, { names })).toEqual({
      ...{ "encoder.w": [3, 4], "a.bias": [3], "b.kernel": [3, 2], "b.bias": [2] },
    });
  });

  test("a name that is only changed keeps its part and axes", async () => {
    const layer = programOf((x, ctx) => transformerLayer(ctx, "layer", x, { heads: 2 }), f32(2, 3, 4));
    const names: ImportOptions["names"] = (_, theirs) => theirs.replace("layer.", "layers.0.");
    const shapes = await roundTrip(layer, { format: "transformer", names });
    expect(shapes).toMatchObject({ "layers.0.self_attn.in_proj_weight": [12, 4], "layers.0.linear1.weight": [16, 4] });
  });

  test("a file without any of the parameters is refused, strict or not", async () => {
    const path = fresh();
    await writeSafetensors(path, [{ name: "other", dtype: "F32", shape: [1], data: new Float32Array(1) }]);
    const read = importWeights(path, program, () => new Float32Array(0), { strict: false });
    await expect(read).rejects.toThrow(
      /lacks a.weight \(parameter a\/weight\), .*; it has besides other. Check `format`/,
    );
  });

  test("wrong ones are refused", async () => {
    const read = (options: object) => importWeights(fresh(), program, () => new Float32Array(0), options);
    await expect(read({ format: "keras" })).rejects.toThrow(/format "keras" is unknown; choose one of pytorch/);
    await expect(read({ name: "x" })).rejects.toThrow(/unknown option "name"; allowed: format, names, strict/);
    const write = exportWeights(fresh(), program, () => new Float32Array(0), { names: () => "same" });
    await expect(write).rejects.toThrow(/tensor "same" would be made of a\/weight \(part 0 of 1\), a\/bias/);
  });
});

describe("files that do not fit", () => {
  const program = programOf((x, ctx) => linear(ctx, "fc", x, 3), f32(1, 4));
  const weight: TensorSource = { name: "fc.weight", dtype: "F32", shape: [3, 4], data: new Float32Array(12) };
  const bias: TensorSource = { name: "fc.bias", dtype: "F32", shape: [3], data: new Float32Array(3) };

  test.each<[string, TensorSource[], RegExp]>([
    [
      "missing and unexpected",
      [weight, { ...bias, name: "bias" }],
      /lacks fc.bias \(parameter fc\/bias\); it has besides bias\. Check/,
    ],
    [
      "another shape",
      [{ ...weight, shape: [4, 3] }, bias],
      /"fc.weight" at byte \d+ has the shape \[4,3\], parameter fc\/weight f32\[4,3\] needs \[3,4\]/,
    ],
    [
      "integers",
      [{ ...bias, dtype: "I32", data: new Int32Array(3) }, weight],
      /"fc.bias" is I32, parameter fc\/bias takes F32, F16/,
    ],
  ])("%s: said by name, and nothing is changed", async (_, tensors, message) => {
    const path = fresh();
    await writeSafetensors(path, tensors);
    const weights = weightsOf(program, 5);
    await expect(importWeights(path, program, (name) => weights[name]!)).rejects.toThrow(message);
    expect(weights).toEqual(weightsOf(program, 5));
  });

  test("a damaged byte of the header never does more than a CheckpointError", async () => {
    const path = fresh();
    await writeSafetensors(path, [weight, bias]);
    const whole = readFileSync(path);
    const header = 8 + Number(whole.readBigUInt64LE(0));
    const damages = fc.record({
      at: fc.nat({ max: header - 1 }),
      byte: fc.nat({ max: 255 }),
      cut: fc.nat({ max: 40 }),
    });
    const property = fc.asyncProperty(damages, async ({ at, byte, cut }) => {
      const bytes = Buffer.from(whole.subarray(0, whole.length - (cut > 20 ? cut : 0)));
      bytes[at] = byte;
      writeFileSync(path, bytes);
      const weights = weightsOf(program);
      const result = await importWeights(path, program, (name) => weights[name]!).catch((error: unknown) => error);
      if (result instanceof Error) expect(result).toBeInstanceOf(CheckpointError);
      else expect(result).toMatchObject({ missing: [], unexpected: [] });
    });
    await fc.assert(property, { numRuns: 200 });
  });

  test("a header that gives a name twice is refused", async () => {
    const path = fresh();
    const entry = '{"dtype":"F32","shape":[3],"data_offsets":[0,12]}';
    const json = `{"fc.bias":${entry},"fc.bias":${entry}}`;
    const file = Buffer.alloc(8 + json.length + 12);
    file.writeBigUInt64LE(BigInt(json.length));
    file.write(json, 8);
    writeFileSync(path, file);
    await expect(SafetensorsFile.open(path)).rejects.toThrow(/its header gives a name twice/);
  });

  test("kernels of convolutions in groups are [O, I/groups, H, W]", async () => {
    const grouped = programOf((x, ctx) => conv2d(ctx, "c", x, 6, { kernel: [3, 1], groups: 2 }), f32(1, 5, 5, 4));
    expect(await roundTrip(grouped)).toEqual({ "c.weight": [6, 2, 3, 1], "c.bias": [6] });
  });
});
