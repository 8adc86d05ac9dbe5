// Measuring collectives between ranks that are started for it.
export {
  busFactor,
  type Measured,
  type MeasuredTransport,
  type MeasureOptions,
  measureCollectives,
  measuredTransports,
  type TimedCall,
} from "./measure.ts";
