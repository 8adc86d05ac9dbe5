// Running planned programs: prepare a plan once, bind it in every trainer thread, run it step after step.
export { type Communication, noCommunication } from "./communication.ts";
export { type BindOptions, bind, CpuDevice, type CpuOptions } from "./cpu.ts";
export { NonFiniteError } from "./debug.ts";
export type { Call, Device } from "./device.ts";
export { type Executable, formatProfile, type InstructionProfile, type Profile } from "./executor.ts";
export {
  type DType,
  type FloatType,
  type Instruction,
  type Operand,
  type Plan,
  type Space,
  written,
} from "./plan.ts";
export { type Prepared, type PrepareOptions, prepare, type TableRules } from "./prepare.ts";
export type { Activation, MatmulShape, MatmulSpec, Provider } from "./provider.ts";
export { scratchBytes } from "./scratch.ts";
export { byteLength, InstructionError, type OpSignature, type TensorType } from "./tensor.ts";
