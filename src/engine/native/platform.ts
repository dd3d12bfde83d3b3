// Which machines a native build is for.

/** E.g. `linux-x64`. */
export const thisPlatform = `${process.platform}-${process.arch}`;
