// Metrics by themselves: exact AUC, log loss, calibration of scores from anywhere.
import { metrics } from "../src/index.ts";

const labels = Float32Array.of(0, 0, 1, 1, 0, 1);
const probabilities = Float32Array.of(0.1, 0.4, 0.35, 0.8, 0.2, 0.4);
const logits = probabilities.map((p) => Math.log(p / (1 - p)));

console.log("AUC", metrics.auc({ scores: probabilities, labels }));
console.log("log loss", metrics.logLoss({ probabilities, labels }).toFixed(6));
const all = metrics.binaryMetrics({ logits, labels });
console.log("accuracy", all.accuracy.toFixed(4));
console.log("calibration", all.calibration.toFixed(4), "of", all.meanPrediction.toFixed(4), "/", all.meanLabel);
for (const { prediction, label, weight } of all.bins) console.log(`  ${prediction.toFixed(2)} → ${label} (${weight})`);
