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

export interface KernelStamp {
  /** The source, relative to the repository, with forward slashes. */
  readonly source: string;
  /** Of the source, everything that it imports, and the compiler's options. */
  readonly hash: string;
  readonly compiler: string;
}

const OPTIONS = [
  ...["-O3", "--noAssert", "--runtime", "stub", "--use", "abort="],
  ...["--importMemory", "--sharedMemory", "--initialMemory", "1", "--maximumMemory", "65536"],
  ...["--enable", "simd", "--enable", "threads"],
];

/** The compiler's options for one variant of a kernel. */
export function compilerOptions(variant: KernelVariant): string[] {
  return variant === "relaxed" ? [...OPTIONS, "--use", "RELAXED=1", "--enable", "relaxed-simd"] : [...OPTIONS];
}

/** The variants that a source asks for in its first line (`// variants: relaxed`). */
export function kernelVariants(source: string): KernelVariant[] {
  return /^\/\/ variants:.*\brelaxed\b/.test(source) ? ["plain", "relaxed"] : ["plain"];
}

export function kernelFileName(name: string, variant: KernelVariant): string {
  return variant === "plain" ? `${name}.wasm` : `${name}.${variant}.wasm`;
}

/** The hash that the kernel's stamp must carry. */
export function kernelHash(path: string, root: string): string {
  const hash = createHash("sha256").update(compilerOptions("relaxed").join(" "));
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
