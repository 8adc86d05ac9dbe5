// Word vectors from text: training (skip-gram and CBOW with negative sampling), files, neighbours, analogies.
import type { Word2VecOptions } from "./options.ts";
import { Word2Vec } from "./train.ts";

export {
  type AnalogyScores,
  evaluateAnalogies,
  evaluatePairs,
  type PairScore,
  type SectionScore,
  spearman,
} from "./evaluate.ts";
export type {
  SharedEmbeddings,
  Synchronise,
  SynchroniseState,
  Word2VecOptions,
  Word2VecTrainOptions,
} from "./options.ts";
export { Word2Vec, type Word2VecResult } from "./train.ts";
export { formatOf, type VectorFormat } from "./vector-formats.ts";
export { type Analogy, type Neighbour, UnknownWordError, WordVectors } from "./vectors.ts";

/**
 * A word2vec model with the defaults of the original program.
 * @example const { vectors } = await models.word2vec({ dim: 100 }).train("text.gz");
 * @throws TypeError that names a wrong option
 */
export function word2vec(options: Word2VecOptions = {}): Word2Vec {
  return new Word2Vec(options);
}
