import { stringAt } from "../elf/elf.js";
import type { DwarfFile } from "./file.js";
import type { TextCollector } from "./texts.js";
import { textAt } from "./unit-list.js";

/** Where a path of a line header stands, besides the homes of `textHome`: in `.debug_line` itself. */
export const lineHome = 8;

/**
 * The files of one line header. Headers list hundreds, and only a few are asked for: a path is put together when its
 * file is used for the first time.
 */
export class LineFiles {
  private readonly directories: number[] = [];
  private readonly directoryHomes: number[] = [];
  private readonly directoryTexts: (string | undefined)[] = [];
  private readonly names: number[] = [];
  private readonly nameHomes: number[] = [];
  private readonly directoryOf: number[] = [];
  private readonly ids: number[] = [];

  /**
   * @param isOld before DWARF 5: directory 0 is the compilation's, files count from 1
   * @param directory the directory that the compiler ran in
   */
  constructor(
    private readonly file: DwarfFile,
    private readonly texts: TextCollector,
    private readonly isOld: boolean,
    private readonly directory: string,
  ) {}

  addDirectory(place: number, home: number): void {
    this.directories.push(place);
    this.directoryHomes.push(home);
  }

  addFile(place: number, home: number, directory: number): void {
    this.names.push(place);
    this.nameHomes.push(home);
    this.directoryOf.push(directory);
    this.ids.push(-1);
  }

  /** The id of a file's path, 0 for a file that is not listed. */
  idOf(number: number): number {
    const index = this.isOld ? number - 1 : number;
    const known = this.ids[index];
    if (known === undefined) return 0;
    if (known >= 0) return known;
    const id = this.texts.of(this.pathOf(index));
    this.ids[index] = id;
    return id;
  }

  private pathOf(index: number): string {
    const name = this.text(this.names[index]!, this.nameHomes[index]!);
    if (name.startsWith("/") || name === "") return name;
    const directory = this.directoryAt(this.directoryOf[index]!);
    return directory === "" ? name : `${directory}/${name}`;
  }

  private directoryAt(number: number): string {
    const index = this.isOld ? number - 1 : number;
    if (index < 0) return this.directory;
    const known = this.directoryTexts[index];
    if (known !== undefined) return known;
    const place = this.directories[index];
    if (place === undefined) return "";
    let path = this.text(place, this.directoryHomes[index]!);
    if (!path.startsWith("/") && this.directory !== "" && path !== this.directory) {
      path = path === "" || path === "." ? this.directory : `${this.directory}/${path}`;
    }
    this.directoryTexts[index] = path;
    return path;
  }

  private text(place: number, home: number): string {
    return home === lineHome
      ? stringAt(this.file.section(".debug_line"), place)
      : textAt(this.file, place, home);
  }
}
