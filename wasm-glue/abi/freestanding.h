/*
 * freestanding.h - included before every source of the shipped wasm: -ffreestanding makes calls
 *                  of these three, the builtins become bulk-memory instructions.
 */
#ifndef ABI_FREESTANDING_H
#define ABI_FREESTANDING_H

/* Declarations too, not only definitions: what is not exported by name needs no GOT entry. */
#pragma GCC visibility push(hidden)

#include <string.h>

#define memcpy  __builtin_memcpy
#define memmove __builtin_memmove
#define memset  __builtin_memset

#endif
