// Weights of other libraries: safetensors files with the names and layouts of PyTorch and Hugging Face, in and out.
export { exportWeights } from "./export.ts";
export { type ImportOptions, type ImportReport, importWeights } from "./import.ts";
export type { NamingOptions, WeightFormat, WeightNames, WeightSource } from "./names.ts";
