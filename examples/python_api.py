"""FOCUS from Python: scores and attention of one crop. Usage: python examples/python_api.py RUN IMAGE TEXT..."""

import sys

from focuscli import Recognizer

run, image, *texts = sys.argv[1:]
recognizer = Recognizer.from_checkpoint(run)
scores = recognizer.scores([image], texts)  # [1, Z]: exp(logit_scale) * cosine
attention = recognizer.attention([image], texts)

print(f"weights: {recognizer.weights}")
for column, words in enumerate(texts):
    text = recognizer.text(words)
    threshold, source = recognizer.threshold(text)
    row, _ = divmod(int(attention.heat[0, column].argmax()), attention.heat.shape[-1])
    print(
        f"{text.phrase}: {scores[0, column]:.2f} against {threshold:.2f} ({source}), "
        f"{'seen' if recognizer.is_seen(text) else 'unseen'} in training, looks most at patch row {row + 1} "
        f"of {attention.heat.shape[-2]}"
    )
