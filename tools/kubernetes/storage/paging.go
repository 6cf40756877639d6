package main

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// tokenPrefix begins every token; the last id of the page before follows.
const tokenPrefix = "after:"

// page returns the records after a token, at most limit of them (all when
// zero), and the token of the next page, empty when there is none. Records are
// in the order of their ids, so those that come and go between two pages
// neither hide nor repeat the others.
func page(records []record, token string, limit int32) (found []record, next string, err error) {
	if limit < 0 {
		return nil, "", status.Error(codes.InvalidArgument, "max_entries cannot be negative")
	}
	if token != "" {
		last, ours := strings.CutPrefix(token, tokenPrefix)
		if !ours {
			// What CSI wants: the caller begins again without a token.
			return nil, "", status.Errorf(codes.Aborted, "starting_token %q is not one of ours", token)
		}
		for len(records) > 0 && records[0].ID <= last {
			records = records[1:]
		}
	}
	if limit == 0 || len(records) <= int(limit) {
		return records, "", nil
	}
	found = records[:limit]
	return found, tokenPrefix + found[limit-1].ID, nil
}
