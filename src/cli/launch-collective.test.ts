// The examples of mode `collective` as jobs of several processes: all ranks end with the same bits, near those of one process.
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, it } from "vitest";
import { SafetensorsFile } from "../checkpoint/index.ts";
import { difference, type Numbers } from "../fleet/testing.ts";
import { Child } from "./testing.ts";
import { LaunchPlace } from "./testing-launch.ts";

const place = new LaunchPlace();
afterAll(() => place.dispose());

const example = fileURLToPath(new URL("../../examples/mnist.ts", import.meta.url));
/** One batch an epoch: then ranks, which take their rows from different places, have the union batch of one process. */
const settings = ["--rows", "64", "--batch", "64", "--epochs", "3"];

const folderOf = (name: string): string => {
  const folder = join(place.path, name);
  mkdirSync(folder);
  return folder;
};

async function weights(folder: string, rank: number): Promise<Numbers> {
  const path = join(folder, `weights-${rank}.safetensors`);
  const file = await SafetensorsFile.open(path);
  const all = new Map<string, readonly number[]>();
  for (const [name, { shape }] of file.tensors) {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    await file.read(name, data);
    all.set(name, [...data]);
  }
  await file.close();
  return all;
}

it("a convolution net trains in three processes as in one", { timeout: 120_000 }, async () => {
  const [alone, together] = [folderOf("alone"), folderOf("together")];
  const env = { ...place.env, FLOTILLA_PROVIDER: "wasm", FLOTILLA_THREADS: "1" };
  const one = new Child([...settings, "--export", alone], place.path, { script: [example], env });
  const job = place.startWith(
    env,
    ...["launch", "--workers", "3", "--threads", "1", example, ...settings, "--export", together],
  );
  expect((await one.outcome).stdout).toMatch(/3 steps, 1 worker\n$/);
  expect((await job.outcome).stdout).toMatch(/^W0 \| .* 3 steps, 3 workers\n$/);
  const files = [0, 1, 2].map((rank) => readFileSync(join(together, `weights-${rank}.safetensors`)));
  for (const file of files) expect(file.equals(files[0]!)).toBe(true);
  const { error, where } = difference(await weights(together, 0), await weights(alone, 0));
  expect(error, where).toBeLessThan(1e-5);
});
