# pratique.sieve: spam goes to Junk, verified notices do not. For the postmaster.
#
# In place of the script that files spam into Junk: copy it to /var/lib/dovecot/sieve/before.d/pratique.sieve, compile
# it (sievec), and name the folder as sieve_before in the plugin section of Dovecot's configuration. Users' own
# scripts still run after it. Tried with Dovecot 2.3 and Pigeonhole (Debian 12).
#
# Pratique must have seen every message first: then every X-Trusted-Sender that comes here is Pratique's own.
require ["fileinto", "mailbox"];

# Verified; or Pratique held it, and a person has looked at it and let it go.
if not header :matches "X-Trusted-Sender" ["verified;*", "*; action=quarantine; host=*"] {

    # What the spam filter in front calls spam: SpamAssassin and amavis, then rspamd.
    if anyof (header :is "X-Spam-Flag" "YES", header :is "X-Spam" "Yes") {
        fileinto :create "Junk";
        stop;
    }

    # Mail that claims a trusted sender without proof, or imitates one, at half the spam score already: three stars.
    # Not what a mailing list of your own domain has rewritten.
    if allof (header :matches "X-Trusted-Sender" ["unverified;*", "imitation;*"],
              not header :contains "X-Trusted-Sender" "; reason=list-rewritten;",
              header :contains "X-Spam-Level" "***") {
        fileinto :create "Junk";
        stop;
    }
}
