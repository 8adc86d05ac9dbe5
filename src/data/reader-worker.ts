// Entry of a reader thread: one task after the other.
import { parentPort } from "node:worker_threads";
import { Heap } from "../memory/index.ts";
import { decoderOf } from "./decoder.ts";
import { DataError } from "./errors.ts";
import { Reader, type ReaderWork } from "./reader.ts";

export interface ReaderTask {
  readonly memory: WebAssembly.Memory;
  readonly work: ReaderWork;
}

export type ReaderMessage =
  | { readonly type: "badLine"; readonly text: string }
  | { readonly type: "error"; readonly error: unknown; readonly place?: ErrorPlace }
  | { readonly type: "done" };

/** What structured clone drops of a DataError. */
export interface ErrorPlace {
  readonly problem: string;
  readonly file: string;
  readonly line: number | undefined;
}

const port = parentPort!;
const post = (message: ReaderMessage): void => port.postMessage(message);

port.on("message", async ({ memory, work }: ReaderTask) => {
  try {
    const newDecoder = await decoderOf(work.spec.format);
    await new Reader(Heap.attach(memory), work, newDecoder, (text) => post({ type: "badLine", text })).run();
  } catch (error) {
    if (!(error instanceof DataError)) post({ type: "error", error });
    else post({ type: "error", error, place: { problem: error.problem, file: error.file, line: error.line } });
  }
  post({ type: "done" });
});
