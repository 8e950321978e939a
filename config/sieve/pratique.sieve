# pratique.sieve: marked spam goes to Junk, verified notices do not. For the postmaster.
#
# It replaces the script that files spam into Junk.
# 1. Replace ^MX-HOST^ (once, below) with the name that X-Trusted-Sender carries as host=: the name of your MX host
#    (`postconf -h myhostname` there), or authserv_id of its pratique.yaml. As long as ^MX-HOST^ stands here, the
#    script believes no field.
# 2. Copy it to /var/lib/dovecot/sieve/before.d/pratique.sieve and compile it with sievec.
# 3. Name the folder in Dovecot's configuration. README.md has the commands, and the lines for Dovecot 2.3 and 2.4.
#
# Users' own scripts run after it. Tested with Dovecot 2.3 (Debian 12) and 2.4 (Debian 13).
#
# Pratique must have seen every message of these mailboxes, and the cleanup service cleanup-mx (config/postfix)
# deletes each X-Trusted-Sender that a client sends. Take this script away BEFORE you take Pratique away.
require ["fileinto", "mailbox", "variables"];

set "mx" "^MX-HOST^";

# Verified; or quarantined by Pratique and released by a person. A host name has no ^.
# Several MX hosts (trusted_hosts): write the list a second time with the name of the other host instead of ${mx}.
if not allof (not header :contains "X-Trusted-Sender" "^",
              header :matches "X-Trusted-Sender" ["verified;* host=${mx}", "*; action=quarantine; host=${mx}"]) {

    # Spam by the filter before this one: SpamAssassin and amavis write the first field, rspamd the second.
    if anyof (header :is "X-Spam-Flag" "YES", header :is "X-Spam" "Yes") {
        fileinto :create "Junk";
        stop;
    }

    # Mail that claims a trusted sender without proof, or imitates one, at half of the spam score: three stars.
    # Not mail that a mailing list of your own domain has rewritten.
    if allof (header :matches "X-Trusted-Sender" ["unverified;*", "undetermined;*", "imitation;*"],
              not header :matches "X-Trusted-Sender" "*; reason=list-rewritten; host=${mx}",
              header :contains "X-Spam-Level" "***") {
        fileinto :create "Junk";
        stop;
    }
}
