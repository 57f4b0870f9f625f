import { addressOfKey, isWordKey } from "../../symbols/tables/address.js";
const pageBytes = 4096;
/** Pages that are kept at most; a backtrace of the greatest length touches fewer. */
const mostPages = 4096;
/**
 * Guest memory at one instant as an unwinder reads it: at once, or not at all. A page that has not been fetched is noted
 * in `missing`; whoever unwinds fetches it and takes the same step again. So the hot path has no promises.
 */
export class StackMemory {
    /** Low and high half of the word that `load` read last. */
    low = 0;
    high = 0;
    /** Number of the page that was wanted and is not here yet. */
    missing;
    guest;
    pages = new Map();
    lastNumber = Number.NaN;
    lastPage;
    constructor(memory) {
        this.guest = memory;
    }
    /** Reads 8 bytes into `low` and `high`; false when they are not mapped, or not here yet. */
    load(key) {
        const number = Math.floor(key / pageBytes);
        const page = number === this.lastNumber ? this.lastPage : this.page(number);
        if (page === undefined)
            return false;
        const at = key - number * pageBytes;
        if (at > pageBytes - 8)
            return this.loadAcross(key);
        this.low = page.getUint32(at, true);
        this.high = page.getUint32(at + 4, true);
        return true;
    }
    /** The word read last, as an address key. */
    get key() {
        return (this.high | 0) * 2 ** 32 + this.low;
    }
    /** One byte, or -1. */
    byte(key) {
        const number = Math.floor(key / pageBytes);
        const page = number === this.lastNumber ? this.lastPage : this.page(number);
        return page === undefined ? -1 : page.getUint8(key - number * pageBytes);
    }
    /** Fetches the missing page. A page that cannot be read is one that is not mapped. */
    async fetch() {
        const number = this.missing;
        this.missing = undefined;
        if (number === undefined)
            return;
        const bytes = await this.guest.read(addressOfKey(number * pageBytes), pageBytes);
        const whole = bytes && bytes.length >= pageBytes;
        if (this.pages.size >= mostPages)
            this.pages.clear();
        this.pages.set(number, whole ? new DataView(bytes.buffer, bytes.byteOffset, pageBytes) : undefined);
        this.lastNumber = Number.NaN;
    }
    page(number) {
        const page = this.pages.get(number);
        if (page === undefined && !this.pages.has(number)) {
            if (isWordKey(number * pageBytes))
                this.missing = number;
            return undefined;
        }
        this.lastNumber = number;
        this.lastPage = page;
        return page;
    }
    loadAcross(key) {
        let low = 0;
        let high = 0;
        for (let i = 0; i < 8; i++) {
            const byte = this.byte(key + i);
            if (byte < 0)
                return false;
            if (i < 4)
                low |= byte << (8 * i);
            else
                high |= byte << (8 * (i - 4));
        }
        this.low = low >>> 0;
        this.high = high >>> 0;
        return true;
    }
}
//# sourceMappingURL=memory.js.map