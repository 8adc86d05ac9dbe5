"""gensim's word2vec on one thread; prints words a second of training, reading the text apart."""
import json
import sys
import time

from gensim.models import Word2Vec
from gensim.models.word2vec import LineSentence

job = json.loads(sys.argv[1])
sentences = list(LineSentence(job["text"], max_sentence_length=1000))
model = Word2Vec(
    vector_size=job["dim"], window=job["window"], negative=job["negative"], sample=job["subsample"],
    min_count=job["minCount"], sg=1, hs=0, workers=1, epochs=1, alpha=0.025, min_alpha=0.025 * 1e-4,
)
model.build_vocab(sentences)
words = sum(model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key)
start = time.perf_counter()
model.train(sentences, total_examples=model.corpus_count, epochs=1)
print("words/s %.1f" % (words / (time.perf_counter() - start)))
