// Calls back while threads train: where Geo-SGD, or whatever else exchanges embeddings, plugs in.
import type { Heap } from "../memory/index.ts";
import { type MatricesHandle, trainKernel } from "./matrices.ts";
import type { SharedEmbeddings, Synchronise } from "./options.ts";
import type { Word2VecPool } from "./pool.ts";
import { DUE, SYNCHRONISED } from "./protocol.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** More than will ever be due: threads that wait go on. */
const NEVER_DUE = 2 ** 31 - 1;

export class Synchroniser {
  readonly #pool: Word2VecPool;
  readonly #run: Synchronise["run"];
  readonly #done: () => number;
  readonly #embeddings: SharedEmbeddings;
  readonly #free: () => void;

  /** @param options.done the share of the training that is done */
  constructor(
    heap: Heap,
    pool: Word2VecPool,
    handle: MatricesHandle,
    {
      vocabulary: { words, counts },
      run,
      done,
    }: Pick<Synchronise, "run"> & { readonly vocabulary: Vocabulary; readonly done: () => number },
  ) {
    const { words: rows, dim, stride, input, output, touchedInput, touchedOutput } = handle;
    // The kernel writes up to four numbers beyond the last row that it lists.
    const list = heap.alloc(4 * (rows + 4));
    const kernel = trainKernel(heap);
    this.#pool = pool;
    this.#run = run;
    this.#done = done;
    this.#free = (): void => heap.free(list);
    this.#embeddings = {
      ...{ heap, words, counts, rows, dim, stride },
      matrices: { input: heap.f32(input, rows * stride), output: heap.f32(output, rows * stride) },
      takeTouched: (matrix, upTo = rows) => {
        const count = kernel.takeTouched(matrix === "input" ? touchedInput : touchedOutput, Math.min(rows, upTo), list);
        return heap.u32(list, count).slice();
      },
    };
  }

  get embeddings(): SharedEmbeddings {
    return this.#embeddings;
  }

  /** Runs whenever it is due until `training` has ended, and once more. */
  async until(training: Promise<unknown>): Promise<void> {
    const { control } = this.#pool;
    let ended = false;
    const over = training
      .catch(() => undefined)
      .finally(() => {
        ended = true;
        Atomics.notify(control, DUE);
      });
    try {
      for (let seen = 0; !ended; ) {
        const due = Atomics.load(control, DUE);
        if (due === seen) {
          const waiting = Atomics.waitAsync(control, DUE, due);
          if (waiting.async) await Promise.race([waiting.value, over]);
          continue;
        }
        seen = due;
        await this.#run(this.#embeddings, { done: this.#done(), last: false });
        Atomics.store(control, SYNCHRONISED, seen);
        Atomics.notify(control, SYNCHRONISED);
      }
      await over;
      await this.#run(this.#embeddings, { done: this.#done(), last: true });
    } catch (error) {
      this.#pool.stop();
      Atomics.store(control, SYNCHRONISED, NEVER_DUE);
      Atomics.notify(control, SYNCHRONISED);
      throw error;
    } finally {
      await over;
      this.#free();
    }
  }
}
