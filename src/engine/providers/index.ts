// Providers of dense contractions: one interface, one contract suite, chosen at run time.
export { cacheFolder } from "./onednn/locate.ts";
export {
  attachProvider,
  type ProviderDescription,
  type ProviderName,
  type SelectedProvider,
  type SelectOptions,
  selectProvider,
} from "./select.ts";
export { wasmProvider } from "./wasm/provider.ts";
