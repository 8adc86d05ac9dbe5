// The files of a run folder as types: `metrics.jsonl` (one record a line), `summary.json` and `config.json`. Everyone who
// writes or reads a run shares these; readers must bear unknown fields and missing optional ones.

/** One point of a calibration plot: samples of similar predictions together. */
export interface CalibrationPoint {
  /** Mean predicted probability in the bin. */
  readonly prediction: number;
  /** Mean label in the bin: the observed frequency. */
  readonly label: number;
  /** Sum of sample weights in the bin. */
  readonly weight: number;
}

/** Training over the window since the previous train record. */
export interface TrainRecord {
  readonly type: "train";
  /** Steps done since the run began, over all threads; resumed runs go on counting. */
  readonly step: number;
  /** Samples seen since the run began. */
  readonly samples: number;
  /** Seconds of training since the run began. */
  readonly seconds: number;
  /** Samples a second over the window. */
  readonly samplesPerSecond: number;
  /** Weighted mean loss over the window. */
  readonly loss: number;
  /** Streaming AUC over the window; absent for models that do not predict a binary label. */
  readonly auc?: number;
  /** Of classifiers of several classes. */
  readonly accuracy?: number;
  /** What the model measures besides, by name. */
  readonly measures?: Readonly<Record<string, number>>;
  readonly learningRate?: number;
  readonly epoch?: number;
}

/** A pass over held-out data. */
export interface EvaluationRecord {
  readonly type: "evaluation";
  readonly step: number;
  readonly samples: number;
  readonly seconds: number;
  readonly loss: number;
  readonly auc?: number;
  readonly accuracy?: number;
  /** e to the mean cross-entropy, of classifiers of several classes. */
  readonly perplexity?: number;
  readonly meanAbsoluteError?: number;
  /** What the model measures besides, by name. */
  readonly measures?: Readonly<Record<string, number>>;
  /** Mean prediction / mean label. */
  readonly calibration?: number;
  readonly expectedCalibrationError?: number;
  readonly bins?: readonly CalibrationPoint[];
  /** Which model, when the run compares several; absent for the main one. */
  readonly model?: string;
  readonly epoch?: number;
}

/** Something worth a mark on the time line: a checkpoint, a resume, an early stop. */
export interface EventRecord {
  readonly type: "event";
  readonly step: number;
  readonly samples: number;
  readonly seconds: number;
  readonly message: string;
}

export type MetricsRecord = TrainRecord | EvaluationRecord | EventRecord;

/** The result of one model of a run that compares several. */
export interface ModelSummary {
  readonly name: string;
  readonly auc?: number;
  readonly logLoss?: number;
  readonly samplesPerSecond?: number;
  readonly parameters?: number;
  readonly bins?: readonly CalibrationPoint[];
}

/** What `summary.json` holds; any further field is shown in the report as it stands. */
export interface RunSummary {
  readonly name?: string;
  readonly model?: string;
  readonly engine?: string;
  readonly threads?: number;
  readonly samples?: number;
  readonly seconds?: number;
  readonly samplesPerSecond?: number;
  readonly auc?: number;
  readonly logLoss?: number;
  readonly accuracy?: number;
  readonly calibration?: number;
  readonly models?: readonly ModelSummary[];
  readonly [field: string]: unknown;
}

/** What `config.json` holds: the options of the run, any JSON object. */
export type RunConfig = Readonly<Record<string, unknown>>;
