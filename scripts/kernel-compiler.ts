// One AssemblyScript kernel to one WebAssembly binary, through the compiler's programming interface: its command line knows
// no 64-bit target. In 64-bit kernels an exported function takes and gives f64 where its source says usize, so that callers
// pass addresses as plain numbers to both builds; the exports of sources must not use other 64-bit integers.
import { type AddressType, type KernelTarget, kernelOptions, maximumPages } from "../src/memory/kernel-source.ts";

/** What we use of the compiler; its own types would declare AssemblyScript's globals over JavaScript's. */
interface AssemblyScript {
  newOptions(): Options;
  setTarget(options: Options, target: number): void;
  setRuntime(options: Options, runtime: number): void;
  setNoAssert(options: Options, on: boolean): void;
  setImportMemory(options: Options, on: boolean): void;
  setSharedMemory(options: Options, on: boolean): void;
  setInitialMemory(options: Options, pages: number): void;
  setMaximumMemory(options: Options, pages: number): void;
  setOptimizeLevelHints(options: Options, optimize: number, shrink: number): void;
  addGlobalAlias(options: Options, alias: string, name: string): void;
  setFeature(options: Options, feature: unknown, on: boolean): void;
  newProgram(options: Options): Program;
  parse(program: Program, text: string | null, path: string, isEntry: boolean): void;
  nextFile(program: Program): string | null;
  initializeProgram(program: Program): void;
  compile(program: Program): { readonly ref: number };
  nextDiagnostic(program: Program): Diagnostic | null;
  isError(diagnostic: Diagnostic): boolean;
  formatDiagnostic(diagnostic: Diagnostic, colors: boolean, context: boolean): string;
  optimize(module: object, optimize: number, shrink: number, debugInfo: boolean, zeroFilledMemory: boolean): void;
  readonly [feature: `FEATURE_${string}`]: unknown;
}

declare const brand: unique symbol;
type Options = { readonly [brand]: "options" };
type Program = { readonly [brand]: "program" };
type Diagnostic = { readonly [brand]: "diagnostic" };
type Type = number;
type Expression = number;

interface Binaryen {
  wrapModule(ref: number): BinaryenModule;
  getExportInfo(ref: number): { readonly kind: number; readonly name: string; readonly value: string };
  getFunctionInfo(ref: number): { readonly params: Type; readonly results: Type };
  expandType(type: Type): Type[];
  createType(types: Type[]): Type;
  readonly i64: Type;
  readonly f64: Type;
  readonly ExternalFunction: number;
}

interface BinaryenModule {
  readonly local: { get(index: number, type: Type): Expression };
  readonly i64: { readonly trunc_s_sat: { f64(value: Expression): Expression } };
  readonly f64: { readonly convert_s: { i64(value: Expression): Expression } };
  getNumExports(): number;
  getExportByIndex(index: number): number;
  removeExport(name: string): void;
  addFunctionExport(internal: string, external: string): void;
  getFunction(name: string): number;
  addFunction(name: string, params: Type, results: Type, locals: Type[], body: Expression): void;
  call(name: string, operands: Expression[], result: Type): Expression;
  setMemory(
    initial: number,
    maximum: number,
    exportName: null,
    segments: never[],
    shared: boolean,
    memory64: boolean,
    name: string,
  ): void;
  addMemoryImport(name: string, module: string, base: string, shared: boolean): void;
  emitBinary(): Uint8Array;
  dispose(): void;
}

// Not literals, or TypeScript would follow the imports.
const COMPILER: string = "assemblyscript";
const LIBRARY: string = "assemblyscript/asc";
const BINARYEN: string = "assemblyscript/binaryen";

const LIBRARY_PREFIX = "~lib/";
const RUNTIME = "rt/index-stub";
const STUB_RUNTIME = 0;
const COMPILER_TARGET: Readonly<Record<AddressType, number>> = { i32: 0, i64: 2 };

/**
 * Compiles `source` (a path) for a target. `read` gives the text of a source file, null where there is none.
 * @throws Error with the compiler's messages.
 */
export async function compileKernel(
  source: string,
  target: KernelTarget,
  read: (path: string) => string | null,
): Promise<Uint8Array> {
  const compiler: AssemblyScript = await import(COMPILER);
  const { libraryFiles }: { libraryFiles: Readonly<Record<string, string>> } = await import(LIBRARY);
  const { default: binaryen }: { default: Binaryen } = await import(BINARYEN);
  const { optimizeLevel, shrinkLevel } = kernelOptions(target);

  const program = compiler.newProgram(compilerOptions(compiler, target));
  for (const [name, text] of Object.entries(libraryFiles)) {
    // Those in sub-directories are parsed when they are imported.
    if (!name.includes("/")) compiler.parse(program, text, `${LIBRARY_PREFIX}${name}.ts`, false);
  }
  compiler.parse(program, libraryFiles[RUNTIME]!, `${LIBRARY_PREFIX}${RUNTIME}.ts`, true);
  compiler.parse(program, read(source), source, true);
  for (let file = compiler.nextFile(program); file !== null; file = compiler.nextFile(program)) {
    const own = file.startsWith(LIBRARY_PREFIX) ? file.slice(LIBRARY_PREFIX.length) : undefined;
    const text = own === undefined ? read(`${file}.ts`) : (libraryFiles[own] ?? libraryFiles[`${own}/index`] ?? null);
    compiler.parse(program, text, `${file}.ts`, false);
  }
  throwErrors(compiler, program);
  compiler.initializeProgram(program);
  const compiled = compiler.compile(program);
  const module = binaryen.wrapModule(compiled.ref);
  try {
    throwErrors(compiler, program);
    if (target.addressType === "i64") {
      useMemory64(module);
      takePlainNumbers(binaryen, module);
    } else {
      refuseWideNumbers(binaryen, module);
    }
    compiler.optimize(compiled, optimizeLevel, shrinkLevel, false, false);
    return module.emitBinary();
  } finally {
    module.dispose();
  }
}

function compilerOptions(compiler: AssemblyScript, target: KernelTarget): Options {
  const { optimizeLevel, shrinkLevel, features, aliases } = kernelOptions(target);
  const options = compiler.newOptions();
  compiler.setTarget(options, COMPILER_TARGET[target.addressType]);
  compiler.setRuntime(options, STUB_RUNTIME);
  compiler.setNoAssert(options, true);
  compiler.setImportMemory(options, true);
  compiler.setSharedMemory(options, true);
  compiler.setInitialMemory(options, 1);
  compiler.setMaximumMemory(options, maximumPages[target.addressType]);
  compiler.setOptimizeLevelHints(options, optimizeLevel, shrinkLevel);
  for (const [alias, name] of Object.entries(aliases)) compiler.addGlobalAlias(options, alias, name);
  for (const feature of features) {
    const flag = compiler[`FEATURE_${feature.toUpperCase().replaceAll("-", "_")}`];
    if (flag === undefined) throw new Error(`the compiler knows no feature "${feature}"`);
    compiler.setFeature(options, flag, true);
  }
  return options;
}

function throwErrors(compiler: AssemblyScript, program: Program): void {
  const errors: string[] = [];
  for (let next = compiler.nextDiagnostic(program); next !== null; next = compiler.nextDiagnostic(program)) {
    if (compiler.isError(next)) errors.push(compiler.formatDiagnostic(next, false, true));
  }
  if (errors.length > 0) throw new Error(`\n${errors.join("\n")}`);
}

/** The compiler declares every memory as a 32-bit one, even where its code has 64-bit addresses. */
function useMemory64(module: BinaryenModule): void {
  module.setMemory(1, maximumPages.i64, null, [], true, true, "0");
  module.addMemoryImport("0", "env", "memory", true);
}

/** The exported functions that take or give i64. */
function wideExports(
  binaryen: Binaryen,
  module: BinaryenModule,
): { readonly name: string; readonly value: string; readonly types: Type[]; readonly results: Type }[] {
  const exports = Array.from({ length: module.getNumExports() }, (_, i) =>
    binaryen.getExportInfo(module.getExportByIndex(i)),
  );
  return exports
    .filter(({ kind }) => kind === binaryen.ExternalFunction)
    .map(({ name, value }) => {
      const { params, results } = binaryen.getFunctionInfo(module.getFunction(value));
      return { name, value, types: binaryen.expandType(params), results };
    })
    .filter(({ types, results }) => results === binaryen.i64 || types.includes(binaryen.i64));
}

/** In 32-bit code an i64 is no usize, and in 64-bit code the two could not be told apart. */
function refuseWideNumbers(binaryen: Binaryen, module: BinaryenModule): void {
  const [found] = wideExports(binaryen, module);
  if (found === undefined) return;
  throw new Error(`${found.name} takes or gives a 64-bit integer, which exports must not; use u32, f64 or memory`);
}

/** Puts functions between the exports and their callers that turn f64 into i64 and back; optimisation inlines most. */
function takePlainNumbers(binaryen: Binaryen, module: BinaryenModule): void {
  const plain = (type: Type): Type => (type === binaryen.i64 ? binaryen.f64 : type);
  for (const { name, value, types, results } of wideExports(binaryen, module)) {
    const operands = types.map((type, i) => {
      const operand = module.local.get(i, plain(type));
      return type === binaryen.i64 ? module.i64.trunc_s_sat.f64(operand) : operand;
    });
    const result = module.call(value, operands, results);
    const body = results === binaryen.i64 ? module.f64.convert_s.i64(result) : result;
    module.addFunction(`${value}|plain`, binaryen.createType(types.map(plain)), plain(results), [], body);
    module.removeExport(name);
    module.addFunctionExport(`${value}|plain`, name);
  }
}
