// Which provider a process takes, and that its threads take the same one.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Heap } from "../../memory/index.ts";
import { checkMatmul } from "./contract.ts";
import { attachProvider, selectProvider } from "./index.ts";
import { cacheFolder, locateOneDnn } from "./onednn/locate.ts";
import { whyAbsent } from "./testing.ts";

const heap = Heap.create({ maxBytes: 2 ** 24 });
const folder = mkdtempSync(join(tmpdir(), "flotilla-select-"));
afterAll(() => rmSync(folder, { recursive: true }));
const absent = whyAbsent("onednn");

describe("the choice", () => {
  test("FLOTILLA_PROVIDER=wasm forces WASM, even where oneDNN is preferred", () => {
    const provider = selectProvider(heap, { prefer: "onednn", env: { FLOTILLA_PROVIDER: "wasm" } });
    expect(provider.describe()).toEqual({ name: "wasm" });
  });

  test("an unknown provider is refused by name", () => {
    expect(() => selectProvider(heap, { env: { FLOTILLA_PROVIDER: "cuda" } })).toThrow(/FLOTILLA_PROVIDER is "cuda"/);
  });

  test("a library that cannot be loaded: WASM with the reason, or an error where oneDNN is forced", () => {
    const broken = join(folder, "libdnnl.so.3");
    writeFileSync(broken, "not a library");
    const env = { FLOTILLA_ONEDNN: broken };
    expect(selectProvider(heap, { env }).describe()).toMatchObject({
      name: "wasm",
      reason: expect.stringMatching(/cannot load .*libdnnl\.so\.3/),
    });
    expect(() => selectProvider(heap, { env: { ...env, FLOTILLA_PROVIDER: "onednn" } })).toThrow(/doctor --fix/);
  });

  test("a library that is not there is named", () => {
    const env = { FLOTILLA_ONEDNN: join(folder, "missing.so") };
    expect(selectProvider(heap, { env }).describe().reason).toMatch(/there is no .*missing\.so/);
  });

  test.skipIf(absent)(`oneDNN where it is there${absent ? ` (skipped: ${absent})` : ""}`, () => {
    const provider = selectProvider(heap, { env: { ...process.env, FLOTILLA_PROVIDER: "" } });
    const shape = { m: 40, n: 30, k: 20 };
    const bits = checkMatmul(heap, provider, shape);
    const description = structuredClone(provider.describe());
    expect(description).toMatchObject({ name: "onednn", version: expect.stringMatching(/^[23]\./) });
    expect(Object.keys(description.choices!)).toEqual(["40x30x20NN"]);
    const twin = attachProvider(heap, description);
    expect(checkMatmul(heap, twin, shape)).toEqual(bits);
    expect(twin.describe()).toEqual(description);
  });
});

describe("the search for the library", () => {
  const library = (...path: string[]): string => {
    const file = join(folder, ...path);
    mkdirSync(join(file, ".."), { recursive: true });
    writeFileSync(file, path.join("/"));
    return file;
  };

  test("FLOTILLA_ONEDNN is the only candidate", () => {
    expect(locateOneDnn({ FLOTILLA_ONEDNN: "/opt/x/libdnnl.so" })).toEqual(["/opt/x/libdnnl.so"]);
  });

  test("environment, then cache, each file once, by its soname", () => {
    const conda = library("conda", "lib", "libdnnl.so.3.6");
    symlinkSync(conda, join(folder, "conda", "lib", "libdnnl.so.3"));
    symlinkSync(conda, join(folder, "conda", "lib", "libdnnl.so"));
    mkdirSync(join(folder, "linked"));
    symlinkSync(conda, join(folder, "linked", "libdnnl.so"));
    const old = library("cache", "flotilla", "onednn", "libdnnl2-2.6", "libdnnl.so.2");
    const newer = library("cache", "flotilla", "onednn", "libdnnl3-3.1", "libdnnl.so.3");
    library("cache", "flotilla", "onednn", ".staging-1", "libdnnl.so.3");
    const env = {
      CONDA_PREFIX: join(folder, "conda"),
      LD_LIBRARY_PATH: `:${join(folder, "linked")}`,
      XDG_CACHE_HOME: join(folder, "cache"),
      HOME: folder,
    };
    const found = locateOneDnn(env).filter((path) => path.startsWith(folder));
    expect(found).toEqual([join(folder, "linked", "libdnnl.so"), newer, old]);
    expect(locateOneDnn({ ...env, LD_LIBRARY_PATH: "" })[0]).toBe(join(folder, "conda", "lib", "libdnnl.so.3"));
  });

  test("the cache follows XDG_CACHE_HOME, else the home folder", () => {
    expect(cacheFolder({ XDG_CACHE_HOME: "/x" })).toBe("/x/flotilla/onednn");
    expect(cacheFolder({ HOME: "/home/a" })).toBe("/home/a/.cache/flotilla/onednn");
  });
});
