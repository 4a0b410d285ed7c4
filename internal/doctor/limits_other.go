//go:build !unix

package doctor

func freeDisk(string) (int64, bool) { return 0, false }

func openFiles() (uint64, bool) { return 0, false }
