// The second set of names: callers of the bridge classes look for mmioRead as well as mmio_read.

/** Gives every method some_name of a class the alias someName. @param {Function} type */
export function addCamelCase(type) {
  const { prototype } = type;
  for (const name of Object.getOwnPropertyNames(prototype)) {
    const alias = name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
    if (alias === name) continue;
    Object.defineProperty(prototype, alias, {
      value: prototype[name],
      writable: true,
      configurable: true,
    });
  }
}
