// Package house holds no code of the product. Its tests hold up the walls of the repository: which
// package may import which, and that every package says what it is for.
package house
