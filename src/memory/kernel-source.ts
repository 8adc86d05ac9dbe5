// What a compiled kernel was made from. The build writes it into each .wasm file, the loader compares it with the source
// that lies there, so that a stale kernel cannot run.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";

/** Where compiled kernels go, relative to the repository. */
export const KERNEL_FOLDER = "build/kernels";
export const KERNEL_SUFFIX = ".as.ts";
/** The custom section of a kernel that holds its stamp as JSON. */
const STAMP_SECTION = "flotilla.source";

export type KernelVariant = "plain" | "relaxed";
/** What addresses are in WebAssembly code: i32 up to 4 GiB of memory, i64 beyond. */
export type AddressType = "i32" | "i64";

/** What a kernel is built for. */
export interface KernelTarget {
  readonly variant: KernelVariant;
  readonly addressType: AddressType;
}

/** The most pages of 64 KiB that a memory may have: 4 GiB and 16 GiB. */
export const maximumPages: Readonly<Record<AddressType, number>> = { i32: 65536, i64: 262144 };

export interface KernelStamp {
  /** The source, relative to the repository, with forward slashes. */
  readonly source: string;
  /** Of the source, everything that it imports, and the compiler's options. */
  readonly hash: string;
  readonly compiler: string;
}

/** How the compiler is to be called. */
export interface KernelOptions {
  readonly optimizeLevel: number;
  readonly shrinkLevel: number;
  /** WebAssembly features beyond the compiler's usual ones. */
  readonly features: readonly string[];
  /** Global names that the source may use or that stand for others. */
  readonly aliases: Readonly<Record<string, string>>;
}

/** The compiler's options for one build of a kernel. */
export function kernelOptions({ variant, addressType }: KernelTarget): KernelOptions {
  const relaxed = variant === "relaxed";
  return {
    optimizeLevel: 3,
    shrinkLevel: 0,
    features: ["simd", "threads", ...(relaxed ? ["relaxed-simd"] : []), ...(addressType === "i64" ? ["memory64"] : [])],
    aliases: { abort: "", ...(relaxed ? { RELAXED: "1" } : {}) },
  };
}

/** Enters the hash of every kernel. */
const ALL_OPTIONS = JSON.stringify([kernelOptions({ variant: "relaxed", addressType: "i64" }), maximumPages]);

/** The variants that a source asks for in its first line (`// variants: relaxed`). */
function kernelVariants(source: string): KernelVariant[] {
  return /^\/\/ variants:.*\brelaxed\b/.test(source) ? ["plain", "relaxed"] : ["plain"];
}

/** The builds of a source: each of its variants for both types of addresses. */
export function kernelTargets(source: string): KernelTarget[] {
  return kernelVariants(source).flatMap((variant) =>
    (["i32", "i64"] as const).map((addressType) => ({ variant, addressType })),
  );
}

/** `NAME.wasm`, `NAME.relaxed.wasm`, `NAME.64.wasm` or `NAME.relaxed.64.wasm`. */
export function kernelFileName(name: string, { variant, addressType }: KernelTarget): string {
  return `${name}${variant === "plain" ? "" : `.${variant}`}${addressType === "i32" ? "" : ".64"}.wasm`;
}

/** The hash that the kernel's stamp must carry. */
export function kernelHash(path: string, root: string): string {
  const hash = createHash("sha256").update(ALL_OPTIONS);
  const seen = new Set<string>();
  const add = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = readFileSync(file, "utf8");
    hash.update(`\n${relative(root, file).replaceAll("\\", "/")}\n${text}`);
    for (const match of text.matchAll(/\bfrom\s+["'](\.{1,2}\/[^"']+)["']/g)) {
      add(resolve(dirname(file), match[1]!.endsWith(".ts") ? match[1]! : `${match[1]}.ts`));
    }
  };
  add(resolve(path));
  return hash.digest("hex");
}

/** The compiled kernel with its stamp. */
export function stampKernel(binary: Uint8Array, stamp: KernelStamp): Uint8Array {
  const name = Buffer.from(STAMP_SECTION);
  const body = Buffer.concat([leb128(name.length), name, Buffer.from(JSON.stringify(stamp))]);
  return Buffer.concat([binary, leb128(0), leb128(body.length), body]);
}

/** The stamp of a compiled kernel; undefined when it has none. */
export function readStamp(module: WebAssembly.Module): KernelStamp | undefined {
  const section = WebAssembly.Module.customSections(module, STAMP_SECTION)[0];
  return section === undefined ? undefined : JSON.parse(new TextDecoder().decode(section));
}

function leb128(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}
