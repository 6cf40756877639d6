package main

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func recordsOf(ids ...string) []record {
	records := make([]record, 0, len(ids))
	for _, id := range ids {
		records = append(records, record{ID: id})
	}
	return records
}

func TestPagesHoldEachRecordOnce(t *testing.T) {
	for limit := int32(0); limit < 6; limit++ {
		var ids []string
		token := ""
		for {
			found, next, err := page(recordsOf("a", "b", "c", "d"), token, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range found {
				ids = append(ids, one.ID)
			}
			if next == "" {
				break
			}
			token = next
		}
		if !slices.Equal(ids, []string{"a", "b", "c", "d"}) {
			t.Errorf("pages of %d hold %q", limit, ids)
		}
	}
}

func TestPageGoesOnWhereADeletedRecordWas(t *testing.T) {
	_, next, err := page(recordsOf("a", "b", "c"), "", 2)
	if err != nil {
		t.Fatal(err)
	}
	found, next, err := page(recordsOf("a", "aa", "c", "d"), next, 1)
	if err != nil || len(found) != 1 || found[0].ID != "c" || next == "" {
		t.Errorf("got %v, %q, %v", found, next, err)
	}
}

func TestPageRefusesWhatItDidNotSay(t *testing.T) {
	if _, _, err := page(nil, "7", 0); status.Code(err) != codes.Aborted {
		t.Errorf("a foreign token: %v", err)
	}
	if _, _, err := page(nil, "", -1); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a negative limit: %v", err)
	}
}
