// Providers of dense contractions: one interface, one contract suite, chosen at run time.
export { wasmProvider } from "./wasm/provider.ts";
