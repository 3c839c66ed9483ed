package cron

import (
	"cmp"
	"slices"
)

func sortInfos(list []Info) {
	slices.SortFunc(list, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Function.AppName, b.Function.AppName), cmp.Compare(a.Function.Definition.Name, b.Function.Definition.Name))
	})
}
