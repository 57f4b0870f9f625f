/** The index of the last of some rising values that is not larger than `wanted`; -1 when the first is. */
export declare function lastAtMost(values: Float64Array, wanted: number): number;
