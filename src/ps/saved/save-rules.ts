// Which rows a save of a mode holds, by their statistics: the rules of ps-scan.as.ts for rows that lie in files.
import type { SaveMode } from "../requests.ts";
import type { Accessor } from "../spec.ts";

/** What of an accessor decides; a checkpoint does not tell it. */
export type SaveRules = Pick<Accessor, "nonClick" | "click" | "saveScore" | "deltaScore" | "keepUnseen">;

/** Those of accessors (PaddlePaddle's). */
export const defaultSaveRules: SaveRules = {
  nonClick: 0.1,
  click: 1,
  saveScore: 1.5,
  deltaScore: 0.25,
  keepUnseen: 16,
};

/** Of some rows, a number each. */
export interface RowStatistics {
  readonly show: Float32Array;
  readonly click: Float32Array;
  readonly unseen: Float32Array;
  readonly delta: Float32Array;
}

/** Whether a mode looks at statistics at all. */
export const isFiltered = (mode: SaveMode): boolean => mode === "base" || mode === "delta";

/** Whether a row is in a save: in f32, as on servers. */
export function rowFilter(mode: SaveMode, rules: SaveRules): (rows: RowStatistics, row: number) => boolean {
  if (!isFiltered(mode)) return () => true;
  const f = Math.fround;
  const [nonClick, clicked, saveScore] = [f(rules.nonClick), f(rules.click), f(rules.saveScore)];
  const [deltaScore, keepUnseen] = [mode === "delta" ? f(rules.deltaScore) : 0, f(rules.keepUnseen)];
  return ({ show, click, unseen, delta }, row) => {
    const clicks = click[row]!;
    const score = f(f(nonClick * f(show[row]! - clicks)) + f(clicked * clicks));
    return !(score < saveScore || delta[row]! < deltaScore || unseen[row]! > keepUnseen);
  };
}
