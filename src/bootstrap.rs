//! What a machine does at its first boot: a cloud-config that lets the controller in. Pure.

/// User that the controller signs in as on every machine.
pub const USER: &str = "rayward";

/// User data of a machine: a user of the controller's with its public key. Holds no secret, and depends on nothing but
/// the key, so that a repeated launch is the same request to the letter.
#[must_use]
pub fn user_data(public_key: &str) -> String {
    format!(
        "#cloud-config\n\
         users:\n\
         - default\n\
         - name: {USER}\n  \
           gecos: Rayward controller\n  \
           shell: /bin/bash\n  \
           lock_passwd: true\n  \
           sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n  \
           ssh_authorized_keys:\n  \
           - {}\n",
        public_key.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_cloud_config_that_lets_the_key_in() -> Result<(), serde_yaml::Error> {
        let data = user_data("ssh-ed25519 AAAAC3Nza rayward\n");
        assert!(data.starts_with("#cloud-config\n"));
        let parsed: serde_yaml::Value = serde_yaml::from_str(&data)?;
        assert_eq!(parsed["users"][1]["name"], USER);
        assert_eq!(
            parsed["users"][1]["ssh_authorized_keys"][0],
            "ssh-ed25519 AAAAC3Nza rayward"
        );
        Ok(())
    }
}
