{{- define "windlass.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "windlass.labels" -}}
app.kubernetes.io/name: windlass
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "windlass.selector" -}}
app.kubernetes.io/name: windlass
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What workers and other gateways call the gateway, and what its certificate is for. */}}
{{- define "windlass.gatewayName" -}}
{{ .Release.Name }}-gateway.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end }}

{{/* Who has signed the gateway's certificate: the first of these that the Secret has. */}}
{{- define "windlass.authorities" -}}
/run/windlass/tls/ca.crt,/run/windlass/tls/tls.crt
{{- end }}

{{/* Of several replicas no two on one node, where there are enough. */}}
{{- define "windlass.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "windlass.selector" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
    # Those of the version before do not count.
    matchLabelKeys: [pod-template-hash]
{{- end }}

{{- define "windlass.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "windlass.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}
