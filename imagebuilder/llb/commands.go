package llb

import (
	"strings"

	"github.com/skerry-dev/skerry/imagebuilder/recipe"
)

// stepEnv is what every command gets unless the image or the step says otherwise.
var stepEnv = map[string]string{
	"DEBIAN_FRONTEND":               "noninteractive",
	"HOME":                          "/root",
	"PIP_DISABLE_PIP_VERSION_CHECK": "1",
	"PIP_NO_CACHE_DIR":              "1",
	"PIP_NO_INPUT":                  "1",
	"PIP_PROGRESS_BAR":              "off",
	"PIP_ROOT_USER_ACTION":          "ignore",
	"UV_LINK_MODE":                  "copy",
	"UV_NO_CACHE":                   "1",
	"UV_NO_PROGRESS":                "1",
	"UV_PYTHON_DOWNLOADS":           "never",
}

// caVariables point programs to the bundle in CASecret.
var caVariables = []string{
	"CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE",
}

// aptCommand leaves neither lists nor packages behind. apt's own trust of https mirrors is given where a bundle is there: it reads no
// variable of the kind that others do.
func aptCommand(packages []string) string {
	const trust = `set --; if [ -n "$SSL_CERT_FILE" ]; then set -- -o Acquire::https::CaInfo="$SSL_CERT_FILE"; fi; `
	return trust + `apt-get "$@" update && apt-get "$@" install -y --no-install-recommends ` + recipe.QuoteAll(packages) +
		` && apt-get clean && rm -rf /var/lib/apt/lists/*`
}

func indexFlags(i recipe.Index, pre string) string {
	var flags []string
	for _, f := range []struct{ name, value string }{
		{"--find-links", i.FindLinks}, {"--index-url", i.IndexURL}, {"--extra-index-url", i.ExtraIndexURL},
	} {
		if f.value != "" {
			flags = append(flags, f.name+" "+recipe.Quote(f.value))
		}
	}
	if i.Pre {
		flags = append(flags, pre)
	}
	return join(" ", append(flags, i.Options)...)
}

// join puts a separator between the parts that are not empty.
func join(separator string, parts ...string) string {
	kept := parts[:0]
	for _, p := range parts {
		if p = strings.TrimSpace(p); p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, separator)
}
