// What the metrics say: plain numbers, the same whether they come from a streaming window or from a whole evaluation.

/** Samples of similar predictions together: one point of a calibration plot. */
export interface CalibrationBin {
  /** Mean predicted probability. */
  readonly prediction: number;
  /** Mean label: the observed frequency. */
  readonly label: number;
  /** Sum of weights. */
  readonly weight: number;
}

/** Metrics of a binary classifier over some samples. Fields that the samples cannot define are NaN. */
export interface BinaryMetrics {
  /** Samples with a weight above 0. */
  readonly samples: number;
  /** Sum of their weights. */
  readonly weight: number;
  /** Weighted mean loss: the model's own where it was given, else the log loss of the logits. */
  readonly loss: number;
  /** Probability that a positive scores above a negative, ties half. NaN without both classes. */
  readonly auc: number;
  /** The exact AUC lies within `auc` ± this; 0 where `auc` is exact. */
  readonly aucErrorBound: number;
  /** Share of weight where (probability > 0.5) equals the label. */
  readonly accuracy: number;
  readonly meanLabel: number;
  readonly meanPrediction: number;
  /** meanPrediction / meanLabel: 1 is calibrated, above 1 is over-confident in clicks. */
  readonly calibration: number;
  /** Σ over `bins` of share of weight × |mean prediction − mean label|. */
  readonly expectedCalibrationError: number;
  /** At most 20 bins of about equal weight, by rising prediction. */
  readonly bins: readonly CalibrationBin[];
  /** Samples left out because their logit or loss is NaN or infinite: above 0, the model has diverged. */
  readonly nonFinite: number;
}
