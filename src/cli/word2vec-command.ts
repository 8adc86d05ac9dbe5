// The options of `flotilla word2vec` and its subcommands, and the help that teaches them.
import type { Command } from "commander";
import { wireTypes } from "../ps/wire.ts";
import { vectorFormats } from "../word2vec/vector-formats.ts";
import { oneOf, realNumber, wholeNumber } from "./usage.ts";
import type { AnalogyFlags, NearestFlags, Word2VecFlags } from "./word2vec.ts";

const trainExamples = `
Text is words between white space, with a sentence a line or none; it may be gzip-compressed. Words are taken as they
stand: lower-case the text and part punctuation from words before, as in
  sed 's/[^[:alnum:]]/ /g' news.txt | tr '[:upper:]' '[:lower:]' > words.txt

Examples:
  flotilla word2vec train words.txt
      skip-gram, 100 numbers a word, all cores, into vectors.bin
  flotilla word2vec train 'wiki-*.gz' -o wiki.vec --dim 300 --min-count 20 --epochs 3
      .vec is the text format of fastText and gensim
  flotilla word2vec train words.txt --cbow --negative 10 --subsample 1e-4
  flotilla word2vec train words.txt --phrases 2
      also learns new_york and new_york_city
  flotilla launch --servers 1 --workers 4 --threads 8 flotilla word2vec train words.txt
      four processes, each on its share of the text

Ctrl-C ends the training and saves the vectors as far as they are; a second one aborts.
What reads them elsewhere: gensim's KeyedVectors.load_word2vec_format("vectors.bin", binary=True).`;

/** @param exit receives the exit code of the command that ran */
export function addWord2Vec(program: Command, exit: (code: number) => void): void {
  const word2vec = program
    .command("word2vec")
    .summary("word vectors from text: train, nearest, analogy")
    .description("Word vectors from text (skip-gram and CBOW with negative sampling).")
    .helpCommand(false)
    .configureHelp({ subcommandTerm: (command) => command.name() })
    .addHelpText(
      "after",
      `
Examples:
  flotilla word2vec train words.txt -o vectors.bin
  flotilla word2vec nearest vectors.bin paris
  flotilla word2vec analogy vectors.bin france paris italy`,
    );

  const train = word2vec
    .command("train")
    .summary("learn vectors from text files")
    .description("Learns a vector for each word of text files, such that words used alike are near to each other.")
    .usage("TEXT... [options]")
    .argument("<text...>", "files or globs")
    .addHelpText("after", trainExamples)
    .action(async (text: string[], flags: Word2VecFlags) =>
      exit(await (await import("./word2vec.ts")).trainCommand(text, flags)),
    );
  train
    .optionsGroup("Model:")
    .option("--dim <n>", "numbers a vector has (default: 100)", wholeNumber(1, 4096))
    .option("--window <n>", "most words before and after a word that count as near (default: 5)", wholeNumber(1, 100))
    .option("--negative <n>", "words drawn at random for each word (default: 5)", wholeNumber(1, 100))
    .option("--cbow", "predict a word from the mean of its neighbours instead of each neighbour from the word")
    .option("--min-count <n>", "leave out words that occur less often (default: 5)", wholeNumber(1))
    .option(
      "--subsample <share>",
      "drop words of a larger share of the text at random; 0 keeps all (default: 1e-3)",
      realNumber(0, 1, true),
    )
    .option("--phrases <passes>", "join words that often stand together, so many times", wholeNumber(1, 5))
    .option(
      "--phrase-threshold <score>",
      "score that makes a phrase; higher means fewer (default: 100)",
      realNumber(0),
    );
  train
    .optionsGroup("Training:")
    .option("--epochs <n>", "passes over the text (default: 5)", wholeNumber(1, 10_000))
    .option("--lr <rate>", "first learning rate (default: 0.025, with --cbow 0.05)", realNumber(0, 10))
    .option("--threads <n>", "threads (default: one a core)", wholeNumber(1, 1024))
    .option(
      "--seed <n>",
      "of all that is drawn (default: 1); only one thread repeats itself",
      wholeNumber(0, 0xffffffff),
    )
    .option("--memory <gib>", "most memory, up to 16 GiB (default: 4)", realNumber(0, 16.0001))
    .option("--scratch <dir>", "folder for the text as numbers while training, 4 bytes a word (default: the system's)");
  train
    .optionsGroup("By several workers, beside servers:")
    .option(
      "--mode <name>",
      "geo: exchange what has changed now and then; async: after each 8192 words (default: geo)",
      (text) => oneOf("--mode", text, ["geo", "async"] as const),
    )
    .option(
      "--every <words>",
      "geo: words of a worker between two exchanges (default: 20 for each of the vocabulary, or 32 times)",
      wholeNumber(1),
    )
    .option("--wire <type>", "how changes travel: f32, f16 or bf16 (default: f16)", (text) =>
      oneOf("--wire", text, wireTypes),
    );
  train
    .optionsGroup("Output:")
    .option("-o, --output <file>", "where the vectors go (default: vectors.bin)")
    .option("--format <name>", "text or binary (default: text for .vec and .txt, else binary)", (text) =>
      oneOf("--format", text, vectorFormats),
    )
    .option("--quiet", "print the result only");

  word2vec
    .command("nearest")
    .summary("the words nearest to a word")
    .description("Lists the words whose vectors point most in the direction of a word's.")
    .usage("VECTORS WORD... [options]")
    .argument("<vectors>", "a file of vectors, text or binary, also of gensim or fastText")
    .argument("<word...>", "words to look for")
    .option("-n, --count <n>", "words for each (default: 10)", wholeNumber(1, 10_000))
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      `
Examples:
  flotilla word2vec nearest vectors.bin paris
  flotilla word2vec nearest vectors.bin king queen --count 3
  flotilla word2vec nearest wiki.en.vec.gz river --json | jq '.river[0]'`,
    )
    .action(async (vectors: string, words: string[], flags: NearestFlags) =>
      exit(await (await import("./word2vec.ts")).nearest(vectors, words, flags)),
    );

  word2vec
    .command("analogy")
    .summary("a is to b as c is to …; scores on questions and judged pairs")
    .description("Answers analogies: a is to b as c is to …. With files, says how good vectors are.")
    .usage("VECTORS A B C [options]\n       flotilla word2vec analogy VECTORS --questions FILE --pairs FILE")
    .argument("<vectors>", "a file of vectors, text or binary, also of gensim or fastText")
    .argument("[words...]", "three words")
    .option("-n, --count <n>", "answers (default: 5)", wholeNumber(1, 10_000))
    .option("--questions <file>", 'lines of four words in sections ": name"; prints the share of right answers')
    .option("--among <n>", "for questions, only the N most frequent words (default: 30000)", wholeNumber(1))
    .option("--pairs <file>", "lines of two words and a judged similarity; prints Spearman's correlation")
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      `
Examples:
  flotilla word2vec analogy vectors.bin france paris italy          → rome
  flotilla word2vec analogy vectors.bin --questions questions-words.txt
  flotilla word2vec analogy vectors.bin --pairs wordsim353.tsv --json | jq .pairs.spearman`,
    )
    .action(async (vectors: string, words: string[], flags: AnalogyFlags) =>
      exit(await (await import("./word2vec.ts")).analogy(vectors, words, flags)),
    );
}
