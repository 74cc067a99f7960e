#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_peers.py PROGRAM: metrics, intervals, folds and linear heads are scikit-learn's and scipy's, if installed."""

import os
import subprocess
import sys
import unittest
import warnings

try:
    import numpy as np
    from scipy import special, stats
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.metrics import (accuracy_score, f1_score, matthews_corrcoef, mean_squared_error, r2_score,
                                 roc_auc_score)
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import StandardScaler
except ImportError:
    system = "/usr/bin/python3"  # where a distribution installs them
    if os.path.exists(system) and os.path.realpath(system) != os.path.realpath(sys.executable):
        os.execv(system, [system] + sys.argv)
    print("scikit-learn or scipy is not installed")
    sys.exit(77)

SEED = int(os.environ.get("LDAR_TEST_SEED", "1"))
CASES = 1000
NEAR = 1e-12


def run(kind, text):
    emulator = os.environ.get("LDAR_EMULATOR", "").split()
    result = subprocess.run([*emulator, PROGRAM, kind], input=text, stdout=subprocess.PIPE, check=True, text=True)
    return result.stdout.splitlines()


def numbers(values):
    return " ".join(repr(float(value)) for value in np.ravel(values))


def student(probability, degrees):
    """Where |t| stays with that probability. stats.t.ppf would do, but has nine digits: t.cdf shows it."""
    x = special.betaincinv(degrees / 2, 0.5, 1 - probability)
    return np.sqrt(degrees * (1 - x) / x)


class Peers(unittest.TestCase):
    def setUp(self):
        warnings.simplefilter("ignore")
        self.random = np.random.RandomState(SEED)

    def assert_near(self, got, expected, case):
        for mine, theirs in zip(got, expected, strict=True):
            if np.isnan(theirs):
                self.assertTrue(np.isnan(mine), case)
            else:
                self.assertLessEqual(abs(mine - theirs), NEAR * max(1, abs(theirs)), case)

    def draw_classes(self):
        """Labels, predictions and probabilities: with ties, with classes that are missing, good guesses and bad."""
        count, classes = self.random.randint(1, 60), self.random.choice([2, 2, 3, 4, 7])
        weights = self.random.dirichlet(np.full(classes, self.random.choice([0.2, 1, 10])))
        labels = self.random.choice(classes, count, p=weights)
        scores = self.random.normal(size=(count, classes))
        scores[np.arange(count), labels] += self.random.choice([0, 1, 3])
        if self.random.rand() < 0.5:
            scores = np.round(scores)
        probabilities = np.exp(scores)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        predicted = probabilities.argmax(axis=1)
        if self.random.rand() < 0.1:
            predicted[:] = self.random.randint(classes)
        return labels, predicted, probabilities

    @staticmethod
    def area(labels, probabilities):
        classes = probabilities.shape[1]
        try:
            if classes == 2:
                return roc_auc_score(labels, probabilities[:, 1])
            return roc_auc_score(labels, probabilities, multi_class="ovr", average="weighted", labels=range(classes))
        except ValueError:
            return np.nan

    def test_classes(self):
        cases = [self.draw_classes() for _ in range(CASES)]
        lines = run("classes", "\n".join(
            f"{len(labels)} {probabilities.shape[1]} "
            + " ".join(f"{label} {guess} {numbers(row)}" for label, guess, row in zip(labels, predicted, probabilities))
            for labels, predicted, probabilities in cases))
        self.assertEqual(len(lines), CASES)
        undefined = 0
        for number, (line, (labels, predicted, probabilities)) in enumerate(zip(lines, cases)):
            area = self.area(labels, probabilities)
            undefined += np.isnan(area)
            self.assert_near([float(word) for word in line.split()],
                             [accuracy_score(labels, predicted), f1_score(labels, predicted, average="weighted"),
                              matthews_corrcoef(labels, predicted), area], f"case {number}")
        self.assertTrue(CASES / 20 < undefined < CASES / 2)

    def draw_values(self):
        count = self.random.randint(2, 60)
        values = self.random.normal(self.random.choice([0, 100]), self.random.choice([0.1, 1, 10]), count)
        predicted = values + self.random.normal(size=count) * self.random.choice([0.1, 1, 10])
        if self.random.rand() < 0.5:
            values, predicted = np.round(values), np.round(predicted)
        return values, predicted

    def test_values(self):
        cases = [self.draw_values() for _ in range(CASES)]
        lines = run("values", "\n".join(f"{len(values)} {numbers(values)} {numbers(predicted)}"
                                        for values, predicted in cases))
        self.assertEqual(len(lines), CASES)
        for number, (line, (values, predicted)) in enumerate(zip(lines, cases)):
            *mine, half = [float(word) for word in line.split()]
            self.assert_near(mine, [mean_squared_error(values, predicted), stats.pearsonr(values, predicted)[0],
                                    stats.spearmanr(values, predicted)[0], r2_score(values, predicted),
                                    np.mean(values)], f"case {number}")
            theirs = student(0.95, len(values) - 1) * stats.sem(values)
            self.assert_near([half], [theirs], f"case {number}")

    def test_student(self):
        cases = [(degrees, probability) for degrees in list(range(1, 40)) + [100, 999, 10000]
                 for probability in (0.5, 0.9, 0.95, 0.99)]
        lines = run("student", "\n".join(f"{degrees} {probability}" for degrees, probability in cases))
        self.assertEqual(len(lines), len(cases))
        for line, (degrees, probability) in zip(lines, cases):
            self.assert_near([float(line)], [student(probability, degrees)], (degrees, probability))

    def test_folds(self):
        cases = [(11, 10, 42), (100, 10, 42), (14965, 10, 42), (10, 10, 42), (2, 2, 0), (1 << 17, 10, 2 ** 32 - 1)]
        for _ in range(50):
            folds = self.random.randint(2, 12)
            cases.append((self.random.randint(folds, 3000), folds, self.random.randint(1 << 31)))
        lines = run("folds", "\n".join(" ".join(map(str, case)) for case in cases))
        self.assertEqual(len(lines), len(cases))
        for line, (count, folds, seed) in zip(lines, cases):
            mine = np.array(line.split(), dtype=int)
            split = KFold(folds, shuffle=True, random_state=seed).split(np.zeros(count))
            for fold, (_, test) in enumerate(split):
                np.testing.assert_array_equal(np.nonzero(mine == fold)[0], test, str((count, folds, seed, fold)))

    def draw_features(self):
        count, width = self.random.randint(30, 200), self.random.randint(1, 20)
        mixed = self.random.normal(size=(count, width)) @ self.random.normal(size=(width, width))
        return (mixed + self.random.normal(size=width) * 3).astype(np.float32)

    def fit(self, features, targets, classes, penalty):
        line, = run("logistic", f"{len(features)} {features.shape[1]} {classes} {penalty} "
                    + " ".join(f"{numbers(target)} {numbers(row)}" for target, row in zip(targets, features)))
        return np.array(line.split(), dtype=float).reshape(len(features), -1)

    def test_logistic(self):
        for case in range(12):
            features = self.draw_features()
            classes, penalty = self.random.choice([2, 3, 5]), self.random.choice([1e-3, 1e-2, 0.1, 1])
            hidden = features @ self.random.normal(size=(features.shape[1], classes))
            labels = (hidden / hidden.std() + self.random.gumbel(size=hidden.shape)).argmax(axis=1)
            labels[:classes] = range(classes)
            scores = self.fit(features, labels, classes, penalty)
            mine = np.exp(scores - scores.max(axis=1, keepdims=True))
            mine /= mine.sum(axis=1, keepdims=True)
            scaled = StandardScaler().fit_transform(features.astype(float))
            # Of two classes theirs has one vector, the difference of our two, and half the sum of their squares.
            strength = (2 if classes == 2 else 1) / (penalty * len(labels))
            theirs = LogisticRegression(C=strength, tol=1e-10, max_iter=10000).fit(scaled, labels).predict_proba(scaled)
            self.assertLess(np.abs(mine - theirs).max(), 1e-4, f"case {case}")

    def test_ridge(self):
        for case in range(12):
            features = self.draw_features()
            penalty = self.random.choice([1e-3, 0.1, 1])
            values = features @ self.random.normal(size=features.shape[1]) + self.random.normal(size=len(features))
            mine = self.fit(features, values, 0, penalty)[:, 0]
            scaled = StandardScaler().fit_transform(features.astype(float))
            theirs = Ridge(alpha=penalty * len(values)).fit(scaled, values).predict(scaled)
            self.assertLess(np.abs(mine - theirs).max(), 1e-4 * values.std(), f"case {case}")


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
