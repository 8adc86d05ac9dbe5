// The part of the WebAssembly JavaScript interface that flotilla uses: TypeScript declares it only together with all of
// the browser.
declare namespace WebAssembly {
  type ImportValue = Memory | Global | number | ((...args: never[]) => unknown);
  type Imports = Record<string, Record<string, ImportValue>>;
  type Exports = Record<string, unknown>;

  class CompileError extends Error {}
  class LinkError extends Error {}
  class RuntimeError extends Error {}

  class Memory {
    constructor(
      descriptor:
        | { initial: number; maximum?: number; shared?: boolean; address?: "i32" }
        | { initial: bigint; maximum?: bigint; shared?: boolean; address: "i64" },
    );
    readonly buffer: ArrayBuffer | SharedArrayBuffer;
    grow(pages: number): number;
  }

  class Global {
    constructor(descriptor: { value: "i32" | "i64" | "f32" | "f64"; mutable?: boolean }, value?: number | bigint);
    value: number | bigint;
  }

  class Module {
    constructor(bytes: BufferSource);
    static customSections(module: Module, name: string): ArrayBuffer[];
    static exports(module: Module): { name: string; kind: string }[];
    static imports(module: Module): { module: string; name: string; kind: string }[];
  }

  class Instance {
    constructor(module: Module, imports?: Imports);
    readonly exports: Exports;
  }

  type BufferSource = ArrayBufferView | ArrayBufferLike;

  function validate(bytes: BufferSource): boolean;
  function compile(bytes: BufferSource): Promise<Module>;
}
