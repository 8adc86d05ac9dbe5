// Saving and loading: whole checkpoints, written atomically and checked by hashes, and plain safetensors files.
export type { SafetensorsDType } from "./dtype.ts";
export { CheckpointError } from "./error.ts";
export { replaceFile, writeWhole } from "./files.ts";
export { removeCheckpoint } from "./folders.ts";
export { Checkpoint, openCheckpoint } from "./open.ts";
export { SafetensorsFile, writeSafetensors } from "./safetensors.ts";
export type { TensorEntry } from "./safetensors-header.ts";
export { saveCheckpoint } from "./save.ts";
export { bytesOfRow, openTableFile, writeTableFile } from "./table-files.ts";
export type {
  CheckpointContents,
  JsonValue,
  OpenOptions,
  SavedTable,
  SaveOptions,
  SaveProgress,
  TableChunk,
  TableColumn,
  TableRange,
  TableSource,
  TensorData,
  TensorInfo,
  TensorSource,
} from "./types.ts";
