import type { Tape } from "../../tape/tape.js";
import { addToTable, type CountedRow } from "./table-file.js";

/** Rows are saved at least so often, in ms, so that little is counted again when the pass is killed. */
const saveMs = 2000;

/** Gathers the rows of one pass through a tape, and saves them into its table now and then. */
export class RowKeeper {
  private readonly tape: Tape;
  private readonly cache: string;
  private readonly from: number;
  private rows: CountedRow[] = [];
  private at: number;
  private savedAt = performance.now();

  /** @param from the icount where the pass begins */
  constructor(tape: Tape, cache: string, from: number) {
    this.tape = tape;
    this.cache = cache;
    this.from = from;
    this.at = from;
  }

  /** The icount of the last row. */
  get last(): number {
    return this.at;
  }

  add(row: CountedRow): void {
    this.rows.push(row);
    this.at = Math.max(this.at, row.icount);
  }

  /** Saves the rows when the last time was long enough ago. Cost of saving: one scan of the log. */
  async saveSometimes(): Promise<void> {
    if (performance.now() - this.savedAt >= saveMs) await this.save(this.at);
  }

  /** @param to the icount up to which no row is missing */
  async save(to: number): Promise<void> {
    const rows = this.rows;
    this.rows = [];
    await addToTable(this.tape, this.cache, { rows, counted: { from: this.from, to } });
    this.savedAt = performance.now();
  }
}
