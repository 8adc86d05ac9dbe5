import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { kernelFileName, kernelHash, kernelTargets, readStamp, stampKernel } from "./kernel-source.ts";
import { loadKernel, supportsRelaxedSimd } from "./wasm.ts";

const empty = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00);
let root: string;
let loader: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "kernels-"));
  loader = pathToFileURL(join(root, "src/memory/wasm.ts")).href;
  write("src/memory/x.as.ts", `import { y } from "./y.as";\nexport function x(): i32 { return y(); }\n`);
  write("src/memory/y.as.ts", "export function y(): i32 { return 1; }\n");
});
afterEach(() => rmSync(root, { recursive: true }));

function write(path: string, contents: string | Uint8Array): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), contents);
}

function build(file: string): void {
  const source = "src/memory/x.as.ts";
  const stamp = { source, hash: kernelHash(join(root, source), root), compiler: "test" };
  write(`build/kernels/${file}`, stampKernel(empty, stamp));
}

describe("loading from sources", () => {
  test("takes a kernel that matches its source and imports, the relaxed variant first", () => {
    build("x.wasm");
    expect(readStamp(loadKernel("x", "i32", loader))?.source).toBe("src/memory/x.as.ts");
    expect(supportsRelaxedSimd()).toBe(true);
    expect(() => loadKernel("x", "i64", loader)).toThrow(/there is no .*x\.64\.wasm/);
    write("build/kernels/x.relaxed.wasm", empty);
    expect(() => loadKernel("x", "i32", loader)).toThrow("x.relaxed.wasm says not what it was built from");
  });

  test("refuses a kernel that is missing, or whose source or import changed", () => {
    expect(() => loadKernel("x", "i32", loader)).toThrow(/kernel "x" is not built.*run `npm run kernels`/);
    build("x.wasm");
    write("src/memory/y.as.ts", "export function y(): i32 { return 2; }\n");
    expect(() => loadKernel("x", "i32", loader)).toThrow(
      /"x" is stale: src\/memory\/x.as.ts changed.*run `npm run kernels`/,
    );
    build("x.wasm");
    loadKernel("x", "i32", loader);
    rmSync(join(root, "src/memory/x.as.ts"));
    expect(() => loadKernel("x", "i32", loader)).toThrow('"x" is stale: its source src/memory/x.as.ts is gone');
  });
});

test("the published build has its kernels beside it and no sources", () => {
  write("dist/kernels/x.wasm", empty);
  const published = pathToFileURL(join(root, "dist/memory/wasm.js")).href;
  expect(loadKernel("x", "i32", published)).toBeInstanceOf(WebAssembly.Module);
  expect(() => loadKernel("z", "i64", published)).toThrow(/"z" is missing.*install the package again/);
});

test("a source asks for variants in its first line, and all are built for both types of addresses", () => {
  const names = (source: string): string[] => kernelTargets(source).map((target) => kernelFileName("x", target));
  expect(names("// variants: relaxed\n")).toEqual(["x.wasm", "x.64.wasm", "x.relaxed.wasm", "x.relaxed.64.wasm"]);
  expect(names("// Adds.\n// variants: relaxed\n")).toEqual(["x.wasm", "x.64.wasm"]);
});
