"""How alike sentences are, by MiniLM: a script written for ONNX Runtime, in which one import is another.

usage: similarity.py [--engine onnxruntime] MODEL VOCABULARY SENTENCE SENTENCE...

MODEL takes input_ids and attention_mask and gives a vector of length 1 for each sentence. VOCABULARY is the `vocab.txt` of
its tokeniser. `tests/models/build.py OUT minilm` makes both, with the weights of all-MiniLM-L6-v2.
"""

import argparse
import re
import unicodedata

import numpy as np


def tokenise(sentence, vocabulary):
    """WordPiece: small letters without accents; each word is cut into the longest pieces that the vocabulary has."""
    ids = [vocabulary["[CLS]"]]
    letters = unicodedata.normalize("NFD", sentence.lower())
    plain = "".join(c for c in letters if unicodedata.category(c) != "Mn")
    for word in re.findall(r"[^\W_]+|[^\w\s]|_", plain):
        pieces, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if prefix + word[start:end] in vocabulary)
            end = next(ends, None)
            if end is None:
                pieces = [vocabulary["[UNK]"]]
                break
            pieces.append(vocabulary[prefix + word[start:end]])
            start = end
        ids += pieces
    return [*ids, vocabulary["[SEP]"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["sparsec", "onnxruntime"], default="sparsec")
    parser.add_argument("model")
    parser.add_argument("vocabulary")
    parser.add_argument("sentences", nargs="+")
    args = parser.parse_args()

    if args.engine == "sparsec":
        from sparsec import InferenceSession
    else:
        from onnxruntime import InferenceSession

    with open(args.vocabulary, encoding="utf-8") as file:
        vocabulary = {line.rstrip("\n"): i for i, line in enumerate(file)}
    tokens = [tokenise(sentence, vocabulary) for sentence in args.sentences]
    length = max(map(len, tokens))
    ids = np.array([t + [0] * (length - len(t)) for t in tokens], dtype=np.int64)
    mask = np.array([[1] * len(t) + [0] * (length - len(t)) for t in tokens], dtype=np.int64)

    session = InferenceSession(args.model, providers=["CPUExecutionProvider"])
    (embeddings,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
    similarity = embeddings @ embeddings.T
    for i, first in enumerate(args.sentences):
        for j in range(i + 1, len(args.sentences)):
            print(f"{similarity[i, j]:.5f}  {first} | {args.sentences[j]}")


if __name__ == "__main__":
    main()
