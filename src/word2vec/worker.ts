// A thread of word2vec: reads text, renumbers and joins words in the token file, trains.
import { readSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { DataError } from "../data/errors.ts";
import { Heap } from "../memory/index.ts";
import { TrainingThread } from "./matrices.ts";
import { countPairs } from "./pairs.ts";
import {
  BLOCK_WORDS,
  CHUNK_WORDS,
  CONTROL_WORDS,
  DONE,
  DUE,
  type JoinRequest,
  NEXT,
  type RenumberRequest,
  type Reply,
  type Request,
  STOP,
  SYNCHRONISED,
  type TrainRequest,
  type WorkerData,
} from "./protocol.ts";
import { TextReader, writeBlock } from "./read-text.ts";
import { phraseKernel, textKernel } from "./word-table.ts";

const data = workerData as WorkerData;
const heap = Heap.attach(data.memory);
const control = heap.i32(data.control, CONTROL_WORDS);

const stopped = (): boolean => Atomics.load(control, STOP) !== 0;

/** Reads words of the token file. */
function readWords(first: number, words: number, into: number): void {
  const bytes = heap.u8(into, 4 * words);
  for (let at = 0; at < bytes.length; ) {
    const read = readSync(data.file, bytes, at, bytes.length - at, 4 * first + at);
    if (read === 0) throw new Error("the scratch file with the text as numbers has been cut off");
    at += read;
  }
}

/** Calls `work` with blocks that no other thread takes, each read into the heap. */
function eachBlock(blocks: number, work: (ids: number, block: number) => void): void {
  const ids = heap.alloc(4 * BLOCK_WORDS);
  for (;;) {
    const block = Atomics.add(control, NEXT, 1);
    if (block >= blocks || stopped()) break;
    readWords(block * BLOCK_WORDS, BLOCK_WORDS, ids);
    work(ids, block);
    Atomics.add(control, DONE, 1);
  }
  heap.free(ids);
}

function renumber({ numbers }: RenumberRequest): void {
  eachBlock(numbers.length, (ids, block) => {
    textKernel(heap).renumber(ids, BLOCK_WORDS, numbers[block]!);
    writeBlock(heap, data.file, block, ids);
  });
}

function join({ blocks, slots, mask, counts }: JoinRequest): void {
  eachBlock(blocks, (ids, block) => {
    phraseKernel(heap).joinPhrases(ids, BLOCK_WORDS, slots, mask);
    textKernel(heap).countWords(ids, BLOCK_WORDS, counts[data.thread]!);
    writeBlock(heap, data.file, block, ids);
  });
}

function train(request: TrainRequest): void {
  const { matrices, chunks, epochs, lr, cbow, seed, first, chunksASynchronisation = 0, wait = false } = request;
  const own = new TrainingThread(heap, matrices, { ...request, seed: seed + 7919 * data.thread });
  const ids = heap.alloc(4 * CHUNK_WORDS);
  const total = chunks.length * epochs;
  for (;;) {
    const chunk = first + Atomics.add(control, NEXT, 1);
    if (chunk >= total || stopped()) break;
    readWords(chunks[chunk % chunks.length]! * CHUNK_WORDS, CHUNK_WORDS, ids);
    own.train(cbow, ids, CHUNK_WORDS, lr * Math.max(1e-4, 1 - chunk / total));
    const done = Atomics.add(control, DONE, 1) + 1;
    if (chunksASynchronisation > 0 && done % chunksASynchronisation === 0) {
      const due = Atomics.add(control, DUE, 1) + 1;
      Atomics.notify(control, DUE);
      if (wait) awaitSynchronised(due);
    }
  }
  heap.free(ids);
  own.free();
}

function awaitSynchronised(due: number): void {
  for (let at = Atomics.load(control, SYNCHRONISED); at < due && !stopped(); at = Atomics.load(control, SYNCHRONISED)) {
    Atomics.wait(control, SYNCHRONISED, at);
  }
}

async function handle(request: Request): Promise<unknown> {
  switch (request.type) {
    case "read":
      return new TextReader(heap, data, request).run();
    case "renumber":
      return renumber(request);
    case "pairs":
      return countPairs(heap, (work) => eachBlock(request.blocks, work));
    case "join":
      return join(request);
    case "train":
      return train(request);
    default:
      return request satisfies never;
  }
}

parentPort!.on("message", async (request: Request) => {
  let reply: Reply;
  try {
    reply = { result: await handle(request) };
  } catch (error) {
    const { message, stack = message } = error as Error;
    reply = { error: { message, stack } };
    if (error instanceof DataError) {
      reply = { ...reply, place: { problem: error.problem, file: error.file, line: error.line } };
    }
  }
  parentPort!.postMessage(reply);
});
