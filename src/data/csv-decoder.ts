// Rows of csv files.
import type { NewDecoder } from "./decoder.ts";

export const newCsvDecoder: NewDecoder = () => {
  throw new Error("csv");
};
