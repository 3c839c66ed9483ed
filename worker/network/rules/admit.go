package rules

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// iptables is where iptables keeps its filter rules, which Docker, ufw and others share.
const (
	iptablesTable   = "filter"
	iptablesForward = "FORWARD"
	iptablesInput   = "INPUT"
)

// admit puts rules at the head of the host's iptables chains FORWARD and INPUT, where they exist, that leave packets of containers and
// builds to our own table: Docker and ufw drop by policy what no rule of theirs accepts. The rules are marked with the table's name;
// withdraw removes them. Those of an earlier process are replaced in one transaction. An administrator's own nftables chains are not
// touched, see Obstacles.
func admit(cfg Config) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	chains, err := iptablesChains(conn)
	if err != nil {
		return err
	}
	if err := queueWithdrawal(conn, chains, cfg.Table); err != nil {
		return err
	}
	b := &builder{conn: conn, cfg: cfg}
	for _, chain := range chains {
		matches := b.senders()
		if chain.Name == iptablesForward {
			matches = append(matches, b.receivers()...)
		}
		for _, match := range matches {
			if chain.Name == iptablesInput {
				match = join(match, destination(), equal(cfg.DNS.AsSlice()))
			}
			conn.InsertRule(&nftables.Rule{
				Table: chain.Table, Chain: chain, UserData: mark(cfg.Table),
				Exprs: rule(match, exprs{&expr.Counter{}}, verdict(expr.VerdictAccept)),
			})
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("admit containers in the host's iptables chains: %w", err)
	}
	return nil
}

// withdraw removes what admit put there for the table of that name. Nothing there is no error.
func withdraw(table string) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	chains, err := iptablesChains(conn)
	if err != nil {
		return err
	}
	if err := queueWithdrawal(conn, chains, table); err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("withdraw containers from the host's iptables chains: %w", err)
	}
	return nil
}

func queueWithdrawal(conn *nftables.Conn, chains []*nftables.Chain, table string) error {
	for _, chain := range chains {
		marked, err := markedRules(conn, chain, table)
		if err != nil {
			return err
		}
		for _, r := range marked {
			if err := conn.DelRule(r); err != nil {
				return fmt.Errorf("withdraw containers from iptables %s: %w", chain.Name, err)
			}
		}
	}
	return nil
}

// Obstacle is a chain of the host's firewall that drops by policy and doesn't let containers through.
type Obstacle struct {
	Family, Table, Chain string // as nft names them
	// Shared says that it is one of iptables' own, where Install makes way.
	Shared bool
	// Forward says that it drops what containers send out; otherwise it drops their DNS queries.
	Forward bool
}

// Obstacles lists them for the table of that name.
func Obstacles(table string) ([]Obstacle, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	var found []Obstacle
	for family, name := range map[nftables.TableFamily]string{nftables.TableFamilyIPv4: "ip", nftables.TableFamilyINet: "inet"} {
		chains, err := conn.ListChainsOfTableFamily(family)
		if err != nil {
			return nil, fmt.Errorf("list nftables chains: %w", err)
		}
		for _, chain := range chains {
			forward, obstructs := drops(chain)
			if !obstructs || chain.Table.Name == table {
				continue
			}
			marked, err := markedRules(conn, chain, table)
			if err != nil {
				return nil, err
			}
			if len(marked) == 0 {
				shared := name == "ip" && isShared(chain)
				found = append(found, Obstacle{Family: name, Table: chain.Table.Name, Chain: chain.Name, Shared: shared, Forward: forward})
			}
		}
	}
	return found, nil
}

// drops says whether a chain drops by policy what is forwarded, or else what is for the host.
func drops(chain *nftables.Chain) (forward, obstructs bool) {
	if chain.Hooknum == nil || chain.Policy == nil || *chain.Policy != nftables.ChainPolicyDrop {
		return false, false
	}
	forward = *chain.Hooknum == *nftables.ChainHookForward
	return forward, forward || *chain.Hooknum == *nftables.ChainHookInput
}

// iptablesChains returns those of iptables' two chains that exist.
func iptablesChains(conn *nftables.Conn) ([]*nftables.Chain, error) {
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	var found []*nftables.Chain
	for _, c := range chains {
		if isShared(c) {
			found = append(found, c)
		}
	}
	return found, nil
}

// isShared says whether a chain of the family ip is one of iptables' two.
func isShared(c *nftables.Chain) bool {
	return c.Table.Name == iptablesTable && (c.Name == iptablesForward || c.Name == iptablesInput)
}

func markedRules(conn *nftables.Conn, chain *nftables.Chain, table string) ([]*nftables.Rule, error) {
	all, err := conn.GetRules(chain.Table, chain)
	if err != nil {
		return nil, fmt.Errorf("list rules of %s %s: %w", chain.Table.Name, chain.Name, err)
	}
	var marked []*nftables.Rule
	for _, r := range all {
		if comment, ok := userdata.GetString(r.UserData, userdata.TypeComment); ok && comment == table {
			marked = append(marked, r)
		}
	}
	return marked, nil
}

func mark(table string) []byte { return userdata.AppendString(nil, userdata.TypeComment, table) }
