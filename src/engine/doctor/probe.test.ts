// The report on this machine, and libraries that misbehave.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { supportsRelaxedSimd } from "../../memory/index.ts";
import type { ConvShape } from "../provider.ts";
import { findOneDnn } from "../providers/onednn/library.ts";
import { measureSpeed, probe } from "./index.ts";
import { parseFeatures } from "./machine.ts";
import { installAdvice } from "./probe.ts";
import { verifyLibrary } from "./verify.ts";

const folder = mkdtempSync(join(tmpdir(), "flotilla-doctor-"));
afterAll(() => rmSync(folder, { recursive: true }));
const installed = findOneDnn().library;

test("the report without readings", async () => {
  const { machine, providers, selected } = await probe({ seconds: 0 });
  expect(machine).toMatchObject({ node: process.version, relaxedSimd: supportsRelaxedSimd() });
  expect(machine.cores).toBeGreaterThan(0);
  expect(providers.map(({ name, found }) => [name, found])).toEqual([
    ["wasm", true],
    ["onednn", installed !== undefined],
  ]);
  expect(providers[0]).not.toHaveProperty("gflops");
  if (installed) {
    const { version, nativeBf16 } = installed.native;
    expect(providers[1]).toMatchObject({ path: installed.path, version, nativeBf16 });
    const { avx512Bf16 = false, amx = false } = machine.features ?? {};
    if (nativeBf16) expect(avx512Bf16 || amx).toBe(true);
  }
  if (!process.env.FLOTILLA_PROVIDER) expect(selected).toBe(installed ? "onednn" : "wasm");
});

test("a reading for one thread and for all", async () => {
  const { providers } = await probe({ seconds: 0.02, env: { FLOTILLA_ONEDNN: join(folder, "none.so") } });
  expect(providers[0]!.gflops!.oneThread).toBeGreaterThan(0);
  expect(providers[0]!.gflops!.allThreads).toBeGreaterThan(0);
});

test("speeds of products, convolutions and the register tile", async () => {
  const pointwise: ConvShape = {
    ...{ direction: "forward", batch: 1, groups: 1, bias: false, types: { x: "f32", w: "f32", y: "f32" } },
    ...{ height: 8, width: 8, channels: 16, outHeight: 8, outWidth: 8, outChannels: 16 },
    ...{ kernelHeight: 1, kernelWidth: 1, strideHeight: 1, strideWidth: 1, dilationHeight: 1, dilationWidth: 1 },
    ...{ padTop: 0, padLeft: 0 },
  };
  const task = {
    provider: { name: "wasm" },
    cases: [{ m: 32, n: 32, k: 32 }, pointwise, "micro-kernel"],
    milliseconds: 5,
  } as const;
  const speeds = await measureSpeed(task, 2);
  expect(speeds).toHaveLength(3);
  for (const { mean, best } of speeds) expect(Math.min(mean, best)).toBeGreaterThan(0);
});

describe("a library that misbehaves", () => {
  test("one that is none, with the fix", async () => {
    const path = join(folder, "libdnnl.so.3");
    writeFileSync(path, "not a library");
    const { providers, selected } = await probe({ seconds: 0, env: { FLOTILLA_ONEDNN: path } });
    expect(selected).toBe("wasm");
    expect(providers[1]).toMatchObject({
      found: false,
      problems: [expect.stringMatching(/cannot load .*libdnnl\.so\.3/)],
      fix: expect.stringMatching(/FLOTILLA_ONEDNN/),
    });
  });

  test("one that crashes its process", async () => {
    const script = join(folder, "crash.mjs");
    writeFileSync(script, 'process.kill(process.pid, "SIGSEGV"); setInterval(() => {}, 1000);');
    const result = await verifyLibrary("/opt/libdnnl.so", pathToFileURL(script));
    expect(result).toEqual({ ok: false, problem: expect.stringMatching(/libdnnl\.so was ended by SIGSEGV/) });
  });

  test("one that ends its process", async () => {
    const script = join(folder, "exit.mjs");
    writeFileSync(script, 'console.error("bad instruction"); process.exit(3);');
    const result = await verifyLibrary("/opt/libdnnl.so", pathToFileURL(script));
    expect(result).toEqual({ ok: false, problem: expect.stringMatching(/ended with code 3: bad instruction/) });
  });
});

test("CPU features from /proc/cpuinfo", () => {
  const none = { avx2: false, avx512f: false, avx512Bf16: false, amx: false };
  expect(parseFeatures("processor: 0\n")).toEqual(none);
  expect(parseFeatures("flags\t\t: fpu avx2 avx512f\n")).toEqual({ ...none, avx2: true, avx512f: true });
  expect(parseFeatures("flags : avx512_bf16 amx_tile amx_bf16\n")).toEqual({ ...none, avx512Bf16: true, amx: true });
});

test("advice by platform", () => {
  expect(installAdvice({}, "darwin")).toBe("brew install onednn");
  expect(installAdvice({}, "win32")).toMatch(/conda/);
});
